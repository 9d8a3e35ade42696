/* client/command/bench_report.c: the figures of a benchmark, as JSON or for people. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "client/command/bench.h"

enum { P50 = 500, P99 = 990, P999 = 999, BAR_WIDTH = 50, BAND_COUNT = 64 };

/* Thousandths, from which text_add_fixed() makes "12345.678". */
static uint64_t rate_milli(uint64_t ops, uint64_t measured_ms)
{
    return measured_ms == 0 ? 0 : ops * 1000 * 1000 / measured_ms;
}

static void output_fixed(struct output *output, const char *name, uint64_t milli)
{
    output_name(output, name);
    text_add_fixed(&output->text, milli, 3);
}

static void report_json(struct output *output, const struct options *options, uint64_t measured_ms,
                        const struct bench_counts *counts)
{
    const struct histogram *latency = &counts->latency_us;

    text_add(&output->text, "{");
    output_text(output, "workload", options->operands[0]);
    output_u64(output, "clients", options->clients);
    output_fixed(output, "seconds", measured_ms);
    output_u64(output, "ops", counts->ops);
    output_fixed(output, "ops_per_s", rate_milli(counts->ops, measured_ms));
    output_u64(output, "p50_us", histogram_percentile(latency, P50));
    output_u64(output, "p99_us", histogram_percentile(latency, P99));
    output_u64(output, "p999_us", histogram_percentile(latency, P999));
    output_u64(output, "max_us", latency->max);
    output_u64(output, "errors", counts->errors);
    text_add(&output->text, "}");
    output_line(output);
}

static void add_us(struct text *text, uint64_t us)
{
    if (us < 10000) {
        text_add_u64(text, us);
        text_add(text, " us");
    } else {
        text_add_fixed(text, us / 10, 2);
        text_add(text, " ms");
    }
}

static void add_row(struct output *output, const char *name, uint64_t us)
{
    output_column(output, bytes_of_text(name), 10);
    add_us(&output->text, us);
    output_line(output);
}

/* The highest band of powers of two that holds `value`: band n is [2^(n-1), 2^n). */
static uint32_t band_of(uint64_t value)
{
    uint32_t band = 0;

    while (value != 0) {
        value >>= 1;
        band++;
    }
    return band < BAND_COUNT ? band : BAND_COUNT - 1;
}

/* The smallest value of the histogram's bucket `at`: exact below 32, then 32 for each power. */
static uint64_t bucket_begin(uint32_t at)
{
    uint32_t subs = 1U << HISTOGRAM_SUB_BITS;

    if (at < subs) {
        return at;
    }
    uint32_t power = at / subs - 1;

    return (uint64_t)(subs + at % subs) << power;
}

static void report_bands(struct output *output, const struct histogram *latency)
{
    uint64_t bands[BAND_COUNT] = {0};
    uint64_t most = 1;

    for (uint32_t i = 0; i < HISTOGRAM_BUCKET_COUNT; i++) {
        uint64_t *band = &bands[band_of(bucket_begin(i))];

        *band += latency->buckets[i];
        most = *band > most ? *band : most;
    }
    for (uint32_t i = 0; i < BAND_COUNT; i++) {
        char label[32];
        struct text text;

        if (bands[i] == 0) {
            continue;
        }
        text_init(&text, label, sizeof(label));
        text_add(&text, "< ");
        add_us(&text, 1ULL << i);
        output_column(output, bytes_of_text(label), 14);
        output_column_u64(output, bands[i], 10);
        for (uint64_t bar = 0; bar < bands[i] * BAR_WIDTH / most; bar++) {
            text_add(&output->text, "#");
        }
        output_line(output);
    }
}

static void report_text(struct output *output, const struct options *options, uint64_t measured_ms,
                        const struct bench_counts *counts)
{
    const struct histogram *latency = &counts->latency_us;

    text_add(&output->text, options->operands[0]);
    text_add(&output->text, ": ");
    text_add_u64(&output->text, options->clients);
    text_add(&output->text, " clients, ");
    text_add_fixed(&output->text, measured_ms, 3);
    text_add(&output->text, " s, ");
    text_add_u64(&output->text, counts->ops);
    text_add(&output->text, " operations, ");
    text_add_u64(&output->text, rate_milli(counts->ops, measured_ms) / 1000);
    text_add(&output->text, " per second, ");
    text_add_u64(&output->text, counts->errors);
    text_add(&output->text, " errors");
    output_line(output);
    if (latency->count == 0) {
        return;
    }
    add_row(output, "p50", histogram_percentile(latency, P50));
    add_row(output, "p99", histogram_percentile(latency, P99));
    add_row(output, "p99.9", histogram_percentile(latency, P999));
    add_row(output, "max", latency->max);
    report_bands(output, latency);
}

void bench_report(struct output *output, const struct options *options, uint64_t measured_ms,
                  const struct bench_counts *counts)
{
    ASSERT(options->command == COMMAND_BENCH);
    if (options->json) {
        report_json(output, options, measured_ms, counts);
    } else {
        report_text(output, options, measured_ms, counts);
    }
}

void bench_report_progress(const struct options *options, const char *phase, uint64_t ops,
                           uint64_t passed_ms, const struct bench_counts *counts)
{
    ASSERT(phase != NULL);
    fprintf(stderr, "\r\033[K%s: %s, %" PRIu64 " s, %" PRIu64 " per second, %" PRIu64 " errors",
            options->operands[0], phase, passed_ms / 1000,
            passed_ms == 0 ? 0 : ops * 1000 / passed_ms, counts->errors);
    fflush(stderr);
}

void bench_report_progress_end(void)
{
    fputs("\r\033[K", stderr);
    fflush(stderr);
}
