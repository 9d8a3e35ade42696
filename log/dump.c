/* log/dump.c: walks the batches of a stopped log, damage included, and changes nothing.
 *
 * Unlike recovery it goes on behind damage: from there it looks at each block for the next header
 * that is valid at its place. It also shows a log whose segments have gaps. */
#include <string.h>

#include "base/assert.h"
#include "log/format.h"
#include "log/log.h"
#include "log/window.h"

enum { NAMES_SPARE = 16 };

struct log_dump {
    struct disk *disk;
    uint32_t batch_size_max;
    struct disk_name *names; /* Of segments only, in order. */
    uint32_t name_count;
    uint32_t name_at;
    uint64_t file_size; /* Of the segment at `name_at`; 0: it was not looked at yet. */
    struct log_place place;
    bool is_lost; /* Behind damage: blocks are skipped until a header is valid. */
    struct log_window window;
    struct log_batch_header header; /* Owns the hard state of the view. */
};

size_t log_dump_memory_size(const struct log_options *options)
{
    uint32_t capacity = log_window_capacity(options->batch_size_max);

    ASSERT(options->segment_count_max >= 1);
    return arena_cost(1, sizeof(struct log_dump)) +
           arena_cost(options->segment_count_max + NAMES_SPARE, sizeof(struct disk_name)) +
           arena_cost(1, capacity + (size_t)DISK_ALIGNMENT);
}

static bool parse_name(const struct disk_name *name, const char *prefix, uint64_t *sequence)
{
    ASSERT(prefix != NULL);
    /* A place holds segment numbers below 2^32; recovery accepts no others. */
    return log_segment_name_parse(name, prefix, sequence) && *sequence >= 1 &&
           *sequence <= UINT32_MAX;
}

enum error log_dump_open(struct log_dump **dump, struct arena *arena,
                         const struct log_options *options, struct disk *disk)
{
    uint32_t names_max = options->segment_count_max + NAMES_SPARE;
    struct log_dump *opened = arena_take(arena, 1, sizeof(*opened));
    size_t length = strlen(options->prefix);
    char prefix[LOG_PREFIX_LENGTH_MAX + 2];
    uint32_t count = 0;

    ASSERT(length >= 1 && length <= LOG_PREFIX_LENGTH_MAX);
    memcpy(prefix, options->prefix, length);
    memcpy(prefix + length, "-", 2);
    *dump = NULL;
    *opened = (struct log_dump){
        .disk = disk,
        .batch_size_max = options->batch_size_max,
        .names = arena_take(arena, names_max, sizeof(struct disk_name)),
    };
    log_window_init(&opened->window, arena, log_window_capacity(options->batch_size_max));
    enum error error = disk_list(disk, prefix, opened->names, names_max, &count);
    if (error != ERR_OK) {
        return error;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t sequence = 0;

        if (parse_name(&opened->names[i], options->prefix, &sequence)) {
            opened->names[opened->name_count++] = opened->names[i];
        }
    }
    *dump = opened;
    return ERR_OK;
}

/* The number at the end of a name that was parsed before. */
static uint64_t sequence_of(const struct disk_name *name)
{
    const char *digits = name->text + strlen(name->text) - strlen("0123456789abcdef.seg");
    uint64_t sequence = 0;

    for (unsigned i = 0; i < 16; i++) {
        char digit = digits[i];

        sequence = sequence << 4 | (uint64_t)(digit >= 'a' ? digit - 'a' + 10 : digit - '0');
    }
    ASSERT(sequence >= 1);
    return sequence;
}

static void next_file(struct log_dump *dump)
{
    ASSERT(dump->name_at < dump->name_count);
    dump->name_at++;
    dump->file_size = 0;
    dump->is_lost = false;
    log_window_forget(&dump->window);
}

static void view_begin(const struct log_dump *dump, struct log_batch_view *view, enum error error)
{
    ASSERT(dump->name_at < dump->name_count);
    *view = (struct log_batch_view){
        .file = dump->names[dump->name_at],
        .offset = dump->place.offset,
        .error = error,
    };
}

static void view_header(struct log_dump *dump, struct log_batch_view *view)
{
    const struct log_batch_header *header = &dump->header;

    ASSERT(header->sequence >= 1);
    view->sequence = header->sequence;
    view->first_index = header->first_index;
    view->record_count = header->record_count;
    view->cut_index = header->cut_index;
    view->hard_state = bytes_of(header->hard_state.data, header->hard_state.size);
}

/* Reads at the present place; false when it cannot, and then the view says so. */
static bool read_here(struct log_dump *dump, uint32_t size, const uint8_t **data,
                      struct log_batch_view *view)
{
    enum error error = log_window_read(&dump->window, dump->disk, &dump->names[dump->name_at],
                                       dump->place, size, data);

    ASSERT(size >= LOG_BLOCK_SIZE);
    if (error != ERR_OK) {
        view_begin(dump, view, error);
        next_file(dump);
    }
    return error == ERR_OK;
}

/* A batch with a valid header is here: shows it, and what is wrong with it. */
static void show_batch(struct log_dump *dump, struct log_batch_view *view)
{
    const struct log_batch_header *header = &dump->header;
    struct log_place place = dump->place;
    const uint8_t *data = NULL;

    if (header->total_size > dump->batch_size_max) {
        view_begin(dump, view, ERR_FULL);
        view_header(dump, view);
        dump->place.offset += LOG_BLOCK_SIZE;
        dump->is_lost = true;
        return;
    }
    if (!read_here(dump, header->total_size, &data, view)) {
        view_header(dump, view);
        return;
    }
    bool is_intact = log_batch_is_intact(data, header, place);

    ASSERT(header->total_size >= LOG_BLOCK_SIZE);
    view_begin(dump, view, is_intact ? ERR_OK : ERR_CORRUPT);
    view_header(dump, view);
    if (is_intact) {
        view->records = log_batch_records(data, header);
    }
    dump->place.offset += header->total_size;
    dump->is_lost = false;
}

/* Looks at the block at the present place; true when there is something to show. */
static bool look_here(struct log_dump *dump, struct log_batch_view *view)
{
    const uint8_t *data = NULL;
    bool was_lost = dump->is_lost;

    ASSERT(dump->place.offset % LOG_BLOCK_SIZE == 0);
    if (!read_here(dump, LOG_BLOCK_SIZE, &data, view)) {
        return true;
    }
    enum error error = ERR_OK;

    if (dump->place.offset == 0) {
        struct log_segment_header header;

        error = log_segment_decode(data, dump->place.segment, &header);
    } else if (log_is_zero(data, LOG_BLOCK_SIZE)) {
        error = ERR_MISSING;
    } else {
        error = log_batch_decode(data, dump->place, &dump->header);
        if (error == ERR_OK) {
            show_batch(dump, view);
            return true;
        }
    }
    view_begin(dump, view, error);
    dump->is_lost = (was_lost && error != ERR_OK) || (error != ERR_OK && error != ERR_MISSING);
    dump->place.offset += LOG_BLOCK_SIZE;
    /* One view for each damaged stretch. */
    return dump->is_lost && !was_lost;
}

/* True when the next segment was opened, or is open; errors are shown by the first read. */
static bool open_file(struct log_dump *dump, struct log_batch_view *view, bool *has_view)
{
    ASSERT(dump->name_at < dump->name_count);
    const struct disk_name *name = &dump->names[dump->name_at];

    *has_view = false;
    if (dump->file_size != 0) {
        return true;
    }
    dump->place = (struct log_place){.segment = sequence_of(name), .offset = 0};
    enum error error = disk_size(dump->disk, name, &dump->file_size);
    if (error == ERR_OK && (dump->file_size < LOG_BLOCK_SIZE || dump->file_size > UINT32_MAX)) {
        error = ERR_CORRUPT;
    }
    if (error != ERR_OK) {
        view_begin(dump, view, error);
        next_file(dump);
        *has_view = true;
        return false;
    }
    return true;
}

bool log_dump_next(struct log_dump *dump, struct log_batch_view *view)
{
    ASSERT(dump != NULL && view != NULL);
    while (dump->name_at < dump->name_count) {
        bool has_view = false;

        if (!open_file(dump, view, &has_view)) {
            return has_view;
        }
        if (dump->place.offset + (uint64_t)LOG_BLOCK_SIZE > dump->file_size) {
            next_file(dump);
        } else if (look_here(dump, view)) {
            return true;
        }
    }
    return false;
}
