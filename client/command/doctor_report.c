/* client/command/doctor_report.c: the figures, and a line for everything that wants attention. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/duration.h"
#include "client/command/doctor.h"
#include "client/command/exit.h"

enum {
    P50 = 500,
    P99 = 990,
    WORST = 1000,
    WRITE_US_MAX = 20000, /* Of a durable write: a commit waits for two of them, one after another
                             on a slow day. */
    ADVICE_COUNT_MAX = 2 * VIEW_NODE_COUNT_MAX + 8,
    ADVICE_SIZE = 320,
    NAME_WIDTH = 10,
    ROLE_WIDTH = 13,
    TIME_WIDTH = 11,
};

struct advice {
    char lines[ADVICE_COUNT_MAX][ADVICE_SIZE];
    uint32_t count;
};

static void advise(struct advice *advice, const char *format, ...) PRINTF_LIKE(2, 3);

static void advise(struct advice *advice, const char *format, ...)
{
    va_list arguments;

    if (advice->count == ADVICE_COUNT_MAX) {
        return;
    }
    va_start(arguments, format);
    (void)vsnprintf(advice->lines[advice->count++], ADVICE_SIZE, format, arguments);
    va_end(arguments);
}

static bool rate_of(const struct doctor_node *node, struct doctor_rate *rate)
{
    return node->has_first && node->has_last && doctor_rate_of(&node->first, &node->last, rate);
}

static void judge_node(struct advice *advice, const struct doctor_node *node, uint32_t bound_ppm)
{
    struct doctor_rate rate;

    if (!node->is_reachable) {
        advise(advice, "%s (%s) does not answer: %s; start it, or see to the network", node->name,
               node->client, node->reason[0] == '\0' ? "nothing was heard" : node->reason);
    } else if (node->silent_count != 0) {
        advise(advice, "%s (%s) did not answer %" PRIu32 " times within a second", node->name,
               node->client, node->silent_count);
    }
    if (node->disk_is_low) {
        advise(advice, "the disk of %s is low; make room there", node->name);
    }
    if (rate_of(node, &rate) && doctor_rate_is_beyond(&rate, bound_ppm)) {
        advise(advice,
               "the clock of %s differs from this machine's by %" PRId64 " (+-%" PRIu64
               ") millionths, and leases allow for %" PRIu32
               "; mend the clock of one of them, or start the nodes with a larger --clock-rate-ppm",
               node->name, rate.ppm, rate.error_ppm, bound_ppm);
    }
}

static void judge(struct advice *advice, struct doctor_findings *findings)
{
    for (uint32_t i = 0; i < findings->node_count; i++) {
        judge_node(advice, &findings->nodes[i], findings->limits.clock_rate_ppm);
    }
    if (!findings->has_leader) {
        advise(advice, "no node leads: a majority must run and reach each other");
    }
    if (findings->states_differ) {
        advise(advice, "two nodes have other states at the same index: see their logs for "
                       "state_differs");
    }
    if (findings->refuses_writes) {
        advise(advice, "writes are refused: the disks of a majority are low");
    }
    if (findings->commit_failures != 0) {
        advise(advice, "%" PRIu32 " sessions could not be opened or ended: %s",
               findings->commit_failures, findings->commit_problem);
    }
    if (findings->disk.problem[0] != '\0') {
        advise(advice, "the disk was not measured: %s", findings->disk.problem);
    } else if (findings->disk.is_measured &&
               doctor_samples_percentile(&findings->disk.writes, P99) > WRITE_US_MAX) {
        advise(advice,
               "one in a hundred durable writes takes more than %d ms: every commit waits "
               "for such writes; use a faster disk for --data",
               WRITE_US_MAX / 1000);
    }
}

/* --- As JSON ---------------------------------------------------------------------------------- */

static void add_samples(struct output *output, const char *name, struct doctor_samples *samples)
{
    output_name(output, name);
    text_add(&output->text, "{");
    output_u64(output, "count", samples->count);
    output_u64(output, "p50_us", doctor_samples_percentile(samples, P50));
    output_u64(output, "p99_us", doctor_samples_percentile(samples, P99));
    output_u64(output, "max_us", doctor_samples_percentile(samples, WORST));
    text_add(&output->text, "}");
}

static void add_signed(struct output *output, const char *name, int64_t value)
{
    output_name(output, name);
    text_add(&output->text, value < 0 ? "-" : "");
    text_add_u64(&output->text, (uint64_t)(value < 0 ? -value : value));
}

static void report_json(struct doctor_findings *findings, struct output *output, uint32_t safe_ms,
                        const struct advice *advice)
{
    text_add(&output->text, "{");
    if (findings->has_leader) {
        output_text(output, "leader", findings->leader);
    } else {
        output_null(output, "leader");
    }
    output_name(output, "nodes");
    text_add(&output->text, "[");
    for (uint32_t i = 0; i < findings->node_count; i++) {
        struct doctor_node *node = &findings->nodes[i];
        struct doctor_rate rate;

        text_add(&output->text, i == 0 ? "{" : ",{");
        output_text(output, "name", node->name);
        output_text(output, "client", node->client);
        output_name(output, "reachable");
        text_add(&output->text, node->is_reachable ? "true" : "false");
        add_samples(output, "answers", &node->answers);
        if (rate_of(node, &rate)) {
            add_signed(output, "clock_ppm", rate.ppm);
            output_u64(output, "clock_error_ppm", rate.error_ppm);
        } else {
            output_null(output, "clock_ppm");
            output_null(output, "clock_error_ppm");
        }
        text_add(&output->text, "}");
    }
    text_add(&output->text, "]");
    add_samples(output, "commits", &findings->commits);
    if (findings->disk.is_measured) {
        add_samples(output, "disk", &findings->disk.writes);
    } else {
        output_null(output, "disk");
    }
    output_u64(output, "ttl_floor_ms", findings->floor_ms);
    output_u64(output, "ttl_safe_ms", safe_ms);
    output_name(output, "advice");
    text_add(&output->text, "[");
    for (uint32_t i = 0; i < advice->count; i++) {
        text_add(&output->text, i == 0 ? "" : ",");
        text_add_json(&output->text, bytes_of_text(advice->lines[i]));
    }
    text_add(&output->text, "]}");
    output_line(output);
}

/* --- For people ------------------------------------------------------------------------------- */

static void add_ms(struct output *output, uint64_t us)
{
    char memory[32];
    struct text text;

    text_init(&text, memory, sizeof(memory));
    text_add_fixed(&text, us / 10, 2);
    text_add(&text, " ms");
    output_column(output, bytes_of(text.data, text.size), TIME_WIDTH);
}

static void add_rate(struct output *output, const struct doctor_node *node)
{
    struct doctor_rate rate;

    if (!rate_of(node, &rate)) {
        text_add(&output->text, "not known");
        return;
    }
    text_add(&output->text, rate.ppm < 0 ? "-" : "+");
    text_add_u64(&output->text, (uint64_t)(rate.ppm < 0 ? -rate.ppm : rate.ppm));
    text_add(&output->text, " +-");
    text_add_u64(&output->text, rate.error_ppm);
    text_add(&output->text, " ppm");
}

static void report_nodes(struct doctor_findings *findings, struct output *output)
{
    text_add(&output->text, "NODE       ROLE          ANSWERS p50 p99         CLOCK AGAINST OURS");
    output_line(output);
    for (uint32_t i = 0; i < findings->node_count; i++) {
        struct doctor_node *node = &findings->nodes[i];

        output_column(output, bytes_of_text(node->name), NAME_WIDTH);
        output_column(output, bytes_of_text(node->is_reachable ? node->role : "unreachable"),
                      ROLE_WIDTH);
        if (node->answers.count != 0) {
            add_ms(output, doctor_samples_percentile(&node->answers, P50));
            add_ms(output, doctor_samples_percentile(&node->answers, P99));
            add_rate(output, node);
        }
        output_line(output);
    }
}

static void report_samples(struct output *output, const char *what, struct doctor_samples *samples)
{
    text_add(&output->text, what);
    text_add(&output->text, ": p50 ");
    add_ms(output, doctor_samples_percentile(samples, P50));
    text_add(&output->text, "p99 ");
    add_ms(output, doctor_samples_percentile(samples, P99));
    text_add(&output->text, "worst ");
    add_ms(output, doctor_samples_percentile(samples, WORST));
    text_add(&output->text, "of ");
    text_add_u64(&output->text, samples->count);
    output_line(output);
}

static void report_ttl(const struct doctor_findings *findings, struct output *output,
                       uint32_t safe_ms)
{
    char text[DURATION_TEXT_SIZE];

    if (!findings->has_leader) {
        return;
    }
    text_add(&output->text, "smallest TTL that the leader takes: ");
    text_add(&output->text, duration_to_text(findings->floor_ms, text));
    output_line(output);
    text_add(&output->text, "smallest safe TTL for a holder on this machine: ");
    text_add(&output->text,
             safe_ms == 0 ? "none: clock rates differ too much" : duration_to_text(safe_ms, text));
    output_line(output);
}

static void report_text(struct doctor_findings *findings, struct output *output, uint32_t safe_ms,
                        const struct advice *advice)
{
    report_nodes(findings, output);
    if (findings->commits.count != 0) {
        report_samples(output, "a commit, from here", &findings->commits);
    }
    if (findings->disk.is_measured) {
        report_samples(output,
                       findings->disk.is_direct ? "a durable write of 4 KiB"
                                                : "a durable write of 4 KiB, without O_DIRECT",
                       &findings->disk.writes);
    } else if (findings->disk.problem[0] == '\0') {
        text_add(&output->text, "the disk was not measured: on a node's machine give --dir, a "
                                "folder beside its --data");
        output_line(output);
    }
    report_ttl(findings, output, safe_ms);
    for (uint32_t i = 0; i < advice->count; i++) {
        text_add(&output->text, "! ");
        text_add(&output->text, advice->lines[i]);
        output_line(output);
    }
    if (advice->count == 0) {
        text_add(&output->text, "all is well");
        output_line(output);
    }
}

int doctor_report(struct doctor_findings *findings, struct output *output,
                  const struct options *options)
{
    struct advice advice = {.count = 0};
    uint32_t worst_us = doctor_samples_percentile(&findings->commits, WORST);

    if (worst_us > findings->limits.commit_us) {
        findings->limits.commit_us = worst_us;
    }
    uint32_t safe_ms = findings->has_leader ? doctor_safe_ttl_ms(&findings->limits) : 0;

    /* The leader refuses less, whatever was seen from here. */
    if (safe_ms != 0 && safe_ms < findings->floor_ms) {
        safe_ms = findings->floor_ms;
    }
    judge(&advice, findings);
    if (options->json) {
        report_json(findings, output, safe_ms, &advice);
    } else {
        report_text(findings, output, safe_ms, &advice);
    }
    if (!findings->has_leader) {
        return EXIT_NO_QUORUM;
    }
    return advice.count == 0 ? EXIT_DONE : EXIT_NO;
}
