/* tools/bench/detector/main.c: our failure detector against three others, in virtual time.
 *
 * usage: detector HEARTBEATS SVG
 *
 * Each detector is shown the same traces with many settings. Compared is at equal detection time:
 * of the settings whose mean detection time is within a bound, the one with the fewest mistakes.
 * Prints the tables of docs/failure-detector.md and writes its chart to the file SVG. The same
 * HEARTBEATS give the same output. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "tools/bench/detector/results.h"

enum { PROCESS_COUNT = 2, SEED = 1, BEAT_COUNT_MIN = 10000, BEAT_COUNT_MAX = 10000000 };

static const double ln_10 = 2.302585092994046;
static const double bounds_ms[] = {80, 100, 150, 200, 250, 300};
static const double thresholds[] = {1.5, 2, 2.5, 3, 3.3, 3.6, 3.8, 4, 4.2, 4.5, 5, 6, 8};

enum { BOUND_COUNT = sizeof(bounds_ms) / sizeof(bounds_ms[0]) };
enum { THRESHOLD_COUNT = sizeof(thresholds) / sizeof(thresholds[0]) };

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "detector: %s: %s\n", what, strerror(errno));
    exit(1);
}

const struct run *series_best(const struct series *series, double mean_ms)
{
    const struct run *best = NULL;

    for (uint32_t i = 0; i < series->run_count; i++) {
        const struct run *run = &series->runs[i];

        if (run->detection_ms_mean <= mean_ms &&
            (best == NULL || run->mistake_count < best->mistake_count)) {
            best = run;
        }
    }
    return best;
}

static void add_run(struct series *series, const struct trace *trace, enum subject_kind kind,
                    struct setting setting)
{
    ASSERT_VALUES(series->run_count < RUN_COUNT_MAX, series->run_count, RUN_COUNT_MAX);
    series->runs[series->run_count++] = run_trace(trace, kind, setting);
}

/* The four with settings that ask for about the same timeout; ours as a constant, too. */
static void run_timeout(struct row *row, const struct trace *trace, uint32_t timeout_ms)
{
    const struct setting settings[SUBJECT_KIND_COUNT] = {
        [SUBJECT_OURS] = {.value = 0.5, .timeout_ms_min = timeout_ms, .timeout_ms_max = timeout_ms},
        [SUBJECT_FIXED] = {.value = timeout_ms},
        [SUBJECT_CHEN] = {.value = (double)timeout_ms - TRACE_INTERVAL_MS},
        [SUBJECT_EXPONENTIAL] = {.value = timeout_ms / (TRACE_INTERVAL_MS * ln_10)},
    };

    for (uint32_t i = 0; i < SUBJECT_KIND_COUNT; i++) {
        add_run(&row->series[i], trace, (enum subject_kind)i, settings[i]);
    }
}

static void run_row(struct row *row, enum trace_kind kind, uint32_t beat_count)
{
    const struct detector_options shipped = detector_options_of(1, TRACE_INTERVAL_MS);
    struct trace trace;

    trace_open(&trace, kind, beat_count, SEED);
    row->name = trace.name;
    for (uint32_t timeout_ms = 60; timeout_ms < 500;) {
        run_timeout(row, &trace, timeout_ms);
        timeout_ms += timeout_ms < 200 ? 10 : timeout_ms < 300 ? 20 : 50;
    }
    for (uint32_t i = 0; i < THRESHOLD_COUNT; i++) {
        const struct setting setting = {
            .value = thresholds[i], .timeout_ms_min = 60, .timeout_ms_max = 1000};

        add_run(&row->series[SUBJECT_OURS], &trace, SUBJECT_OURS, setting);
    }
    row->shipped = run_trace(&trace, SUBJECT_OURS,
                             (struct setting){.value = shipped.threshold,
                                              .timeout_ms_min = shipped.timeout_ms_min,
                                              .timeout_ms_max = shipped.timeout_ms_max,
                                              .floor_ms_max = shipped.floor_ms_max});
    trace_close(&trace);
}

/* Rows are independent: every second one in a process of its own. */
static void run_all(struct results *results)
{
    pid_t children[PROCESS_COUNT];

    for (uint32_t i = 0; i < PROCESS_COUNT; i++) {
        children[i] = fork();
        if (children[i] < 0) {
            die("fork");
        }
        if (children[i] == 0) {
            for (uint32_t kind = i; kind < TRACE_KIND_COUNT; kind += PROCESS_COUNT) {
                run_row(&results->rows[kind], (enum trace_kind)kind, results->beat_count);
            }
            _exit(0);
        }
    }
    for (uint32_t i = 0; i < PROCESS_COUNT; i++) {
        int status = 0;

        if (waitpid(children[i], &status, 0) < 0 || status != 0) {
            die("a process of the comparison failed");
        }
    }
}

static void print_comparison(const struct results *results)
{
    printf("| trace | detector |");
    for (uint32_t i = 0; i < BOUND_COUNT; i++) {
        printf(" %.0f ms |", bounds_ms[i]);
    }
    printf("\n|---|---|%.*s\n", 4 * BOUND_COUNT, "---|---|---|---|---|---|---|---|---|---|");
    for (uint32_t kind = 0; kind < TRACE_KIND_COUNT; kind++) {
        const struct row *row = &results->rows[kind];

        for (uint32_t i = 0; i < SUBJECT_KIND_COUNT; i++) {
            printf("| %s | %s |", i == 0 ? row->name : "", subject_name((enum subject_kind)i));
            for (uint32_t bound = 0; bound < BOUND_COUNT; bound++) {
                const struct run *best = series_best(&row->series[i], bounds_ms[bound]);

                if (best == NULL) {
                    printf(" - |");
                } else {
                    printf(" %" PRIu64 " |", best->mistake_count);
                }
            }
            printf("\n");
        }
    }
}

static void print_shipped(const struct results *results)
{
    printf(
        "\n| trace | crashes | T_D mean | T_D p99 | T_D max | mistakes | at own pauses | P_A |\n");
    printf("|---|---|---|---|---|---|---|---|\n");
    for (uint32_t kind = 0; kind < TRACE_KIND_COUNT; kind++) {
        const struct run *run = &results->rows[kind].shipped;

        printf("| %s | %" PRIu32 " | %.0f ms | %.0f ms | %.0f ms | %" PRIu64 " | %" PRIu64
               " | %.6f |\n",
               results->rows[kind].name, run->crash_count, run->detection_ms_mean,
               run->detection_ms_p99, run->detection_ms_max, run->mistake_count,
               run->paused_mistake_count, 1 - run->wrong_ms / (run->hours * 3.6e6));
    }
}

int main(int argc, char **argv)
{
    unsigned long beat_count = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;

    if (beat_count < BEAT_COUNT_MIN || beat_count > BEAT_COUNT_MAX) {
        fprintf(stderr, "usage: detector HEARTBEATS SVG     (%d to %d heartbeats)\n",
                BEAT_COUNT_MIN, BEAT_COUNT_MAX);
        return 64;
    }
    struct results *results =
        mmap(NULL, sizeof(*results), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (results == MAP_FAILED) {
        die("mmap");
    }
    results->beat_count = (uint32_t)beat_count;
    run_all(results);
    print_comparison(results);
    print_shipped(results);
    FILE *file = fopen(argv[2], "w");

    if (file == NULL) {
        die(argv[2]);
    }
    chart_write(file, results);
    if (fclose(file) != 0) {
        die(argv[2]);
    }
    return 0;
}
