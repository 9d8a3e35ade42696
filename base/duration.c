/* base/duration.c: reads and writes durations without libc and without floats. */
#include "base/duration.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/text.h"

enum { DECIMALS_MAX = 3 };

static const uint64_t second_ms = 1000;
static const uint64_t minute_ms = (uint64_t)60 * 1000;
static const uint64_t hour_ms = (uint64_t)3600 * 1000;
static const uint64_t duration_ms_max = (uint64_t)10 * 365 * 24 * 3600 * 1000;

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static size_t count_digits(struct bytes bytes)
{
    size_t count = 0;

    while (count < bytes.size && is_digit(bytes.data[count])) {
        count++;
    }
    return count;
}

/* How many milliseconds the unit has; 0 when it is none. */
static uint64_t unit_ms(struct bytes unit)
{
    if (bytes_equal(unit, bytes_of_text("ms"))) {
        return 1;
    }
    if (bytes_equal(unit, bytes_of_text("s"))) {
        return second_ms;
    }
    if (bytes_equal(unit, bytes_of_text("m"))) {
        return minute_ms;
    }
    return bytes_equal(unit, bytes_of_text("h")) ? hour_ms : 0;
}

/* Takes ".125" off `rest` as 125 thousandths; a point without decimals is refused. */
static bool take_thousandths(struct bytes *rest, uint64_t *thousandths)
{
    *thousandths = 0;
    if (rest->size == 0 || rest->data[0] != '.') {
        return true;
    }
    *rest = bytes_skip(*rest, 1);
    size_t count = count_digits(*rest);
    if (count == 0 || count > DECIMALS_MAX) {
        return false;
    }
    for (size_t i = 0; i < DECIMALS_MAX; i++) {
        unsigned digit = i < count ? (unsigned)(rest->data[i] - '0') : 0;
        *thousandths = *thousandths * 10 + digit;
    }
    *rest = bytes_skip(*rest, count);
    return true;
}

bool duration_parse(const char *text, uint64_t *duration_ms)
{
    ASSERT(text != NULL && duration_ms != NULL);
    struct bytes rest = bytes_of_text(text);
    size_t count = count_digits(rest);
    uint64_t whole;
    uint64_t thousandths;

    if (!text_parse_u64(bytes_of(rest.data, count), &whole)) {
        return false;
    }
    rest = bytes_skip(rest, count);
    if (!take_thousandths(&rest, &thousandths)) {
        return false;
    }
    uint64_t unit = unit_ms(rest);
    /* Nothing is rounded: half a millisecond silently read as 0 would switch a timeout off. */
    if (unit == 0 || thousandths * unit % 1000 != 0 || whole > duration_ms_max / unit) {
        return false;
    }
    uint64_t total_ms = whole * unit + thousandths * unit / 1000;
    if (total_ms > duration_ms_max) {
        return false;
    }
    *duration_ms = total_ms;
    return true;
}

/* "1.5s" for 1500: trailing zeros of the decimals are left out. */
static void add_seconds(struct text *text, uint64_t ms)
{
    unsigned decimals = DECIMALS_MAX;

    while (decimals > 0 && ms % 10 == 0) {
        ms /= 10;
        decimals--;
    }
    text_add_fixed(text, ms, decimals);
    text_add(text, "s");
}

static void add_part(struct text *text, uint64_t count, const char *unit)
{
    if (count != 0) {
        text_add_u64(text, count);
        text_add(text, unit);
    }
}

const char *duration_to_text(uint64_t duration_ms, char text[DURATION_TEXT_SIZE])
{
    struct text builder;

    text_init(&builder, text, DURATION_TEXT_SIZE);
    if (duration_ms < second_ms) {
        text_add_u64(&builder, duration_ms);
        text_add(&builder, "ms");
        return text;
    }
    /* Beyond what duration_parse() takes, the milliseconds would not fit into the text. */
    if (duration_ms > duration_ms_max) {
        duration_ms -= duration_ms % second_ms;
    }
    add_part(&builder, duration_ms / hour_ms, "h");
    add_part(&builder, duration_ms % hour_ms / minute_ms, "m");
    if (duration_ms % minute_ms != 0) {
        add_seconds(&builder, duration_ms % minute_ms);
    }
    ASSERT(!builder.truncated);
    return text;
}
