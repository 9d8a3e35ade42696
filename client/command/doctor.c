/* client/command/doctor.c: `holdfast doctor`: asks every node again and again for a while, opens
 * and ends sessions beside that, measures the disk of --dir, and reports. It changes nothing: the
 * sessions hold nothing and are gone at once. */
#define _GNU_SOURCE
#include "client/command/doctor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/clock.h"
#include "client/command/run.h"

enum { PAUSE_MS = 20, SESSION_TTL_MS = 10000, US_IN_MS = 1000 };

struct doctor {
    struct run *run;
    struct view view;
    struct doctor_findings findings;
    struct holdfast_session *session;
    uv_timer_t timer;
    uint64_t begun_us;
    uint64_t sent_us; /* Of the session's request. */
};

static void look(struct doctor *doctor);

static void copy(char *to, size_t size, const char *from)
{
    struct text text;

    text_init(&text, to, size);
    text_add(&text, from);
}

static uint64_t passed_ms(const struct doctor *doctor)
{
    return (clock_now_us() - doctor->begun_us) / US_IN_MS;
}

static void show_progress(const struct doctor *doctor)
{
    if (!doctor->run->options->json && isatty(STDERR_FILENO) == 1) {
        fprintf(stderr, "\r\033[Kmeasuring: %" PRIu64 " of %" PRIu64 " s, %" PRIu32 " commits",
                passed_ms(doctor) / 1000, doctor->run->options->seconds_ms / 1000,
                doctor->findings.commits.count);
    }
}

static void end_progress(const struct doctor *doctor)
{
    if (!doctor->run->options->json && isatty(STDERR_FILENO) == 1) {
        fputs("\r\033[K", stderr);
    }
}

static void waited(uv_timer_t *timer)
{
    look(timer->data);
}

/* After each round: another one, or the end. */
static void go_on(struct doctor *doctor)
{
    show_progress(doctor);
    if (passed_ms(doctor) >= doctor->run->options->seconds_ms) {
        uv_close((uv_handle_t *)&doctor->timer, NULL);
        run_finish(doctor->run, EXIT_DONE);
        return;
    }
    int error = uv_timer_start(&doctor->timer, waited, PAUSE_MS, 0);

    ASSERT(error == 0);
}

/* --- Commits ---------------------------------------------------------------------------------- */

static void note_commit(struct doctor *doctor, const struct holdfast_result *result)
{
    struct doctor_findings *findings = &doctor->findings;

    if (result->status == HOLDFAST_OK) {
        doctor_samples_add(&findings->commits, clock_now_us() - doctor->sent_us);
    } else {
        findings->commit_failures++;
        copy(findings->commit_problem, sizeof(findings->commit_problem), result->text);
    }
}

static void session_ended(const struct holdfast_result *result, void *context)
{
    note_commit(context, result);
    go_on(context);
}

static void end_session(struct doctor *doctor)
{
    struct holdfast_session *session = doctor->session;

    doctor->session = NULL;
    doctor->sent_us = clock_now_us();
    if (session == NULL || holdfast_session_end(session, session_ended, doctor) == NULL) {
        go_on(doctor);
    }
}

static void session_opened(const struct holdfast_result *result, void *context)
{
    struct doctor *doctor = context;

    note_commit(doctor, result);
    end_session(doctor);
}

static void open_session(struct doctor *doctor)
{
    const struct holdfast_session_options options = {.ttl_ms = SESSION_TTL_MS};

    doctor->sent_us = clock_now_us();
    if (holdfast_session_open(doctor->run->client, &options, &doctor->session, session_opened,
                              doctor) == NULL) {
        go_on(doctor);
    }
}

/* --- Nodes ------------------------------------------------------------------------------------ */

static struct doctor_node *node_of(struct doctor_findings *findings,
                                   const struct view_member *member)
{
    const char *name = member->name[0] == '\0' ? member->client : member->name;

    for (uint32_t i = 0; i < findings->node_count; i++) {
        if (strcmp(findings->nodes[i].name, name) == 0) {
            return &findings->nodes[i];
        }
    }
    if (findings->node_count == VIEW_NODE_COUNT_MAX) {
        return NULL;
    }
    struct doctor_node *node = &findings->nodes[findings->node_count++];

    copy(node->name, sizeof(node->name), name);
    copy(node->client, sizeof(node->client), member->client);
    return node;
}

static uint64_t width_us(const struct doctor_reading *reading)
{
    return reading->answered_us - reading->asked_us;
}

/* The narrowest reading of the first quarter of the time, and of the last one. */
static void note_clock(struct doctor_node *node, const struct view_node *seen, uint64_t at_ms,
                       uint64_t whole_ms)
{
    const struct doctor_reading reading = {seen->asked_us, seen->answered_us, seen->clock_ms};

    if (seen->clock_ms == 0) {
        return;
    }
    if (at_ms <= whole_ms / 4 || !node->has_first) {
        if (!node->has_first || width_us(&reading) < width_us(&node->first)) {
            node->first = reading;
            node->has_first = true;
        }
    } else if (at_ms >= whole_ms - whole_ms / 4) {
        if (!node->has_last || width_us(&reading) < width_us(&node->last)) {
            node->last = reading;
            node->has_last = true;
        }
    }
}

static void note_node(struct doctor *doctor, const struct view_member *member)
{
    struct doctor_node *node = node_of(&doctor->findings, member);
    const struct view_node *seen = member->node;

    if (node == NULL) {
        return;
    }
    node->is_reachable = seen != NULL;
    if (seen == NULL) {
        node->silent_count++;
        return;
    }
    copy(node->role, sizeof(node->role), seen->role);
    node->disk_is_low = seen->disk_is_low;
    doctor_samples_add(&node->answers, seen->answered_us - seen->asked_us);
    note_clock(node, seen, passed_ms(doctor), doctor->run->options->seconds_ms);
}

/* The hash of a state belongs to the index that was applied. */
static bool states_differ(const struct view *view)
{
    for (uint32_t i = 0; i < view->node_count; i++) {
        for (uint32_t j = i + 1; j < view->node_count; j++) {
            const struct view_node *a = &view->nodes[i];
            const struct view_node *b = &view->nodes[j];

            if (a->is_reachable && b->is_reachable && a->applied == b->applied &&
                a->state_hash != b->state_hash) {
                return true;
            }
        }
    }
    return false;
}

static void note_leader(struct doctor_findings *findings, const struct view_node *leader)
{
    findings->has_leader = leader != NULL;
    if (leader == NULL) {
        return;
    }
    copy(findings->leader, sizeof(findings->leader), leader->name);
    findings->refuses_writes = leader->refuses_writes;
    findings->floor_ms = leader->ttl_floor_ms;
    findings->limits.clock_rate_ppm = leader->clock_rate_ppm;
    findings->limits.margin_ms = leader->margin_ms;
    findings->limits.election_ms = leader->election_ms;
    if (leader->commit_us > findings->limits.commit_us) {
        findings->limits.commit_us = leader->commit_us;
    }
}

static void note_silence(struct doctor_findings *findings, const struct view *view)
{
    for (uint32_t i = 0; i < view->node_count; i++) {
        const struct view_node *seen = &view->nodes[i];

        for (uint32_t j = 0; !seen->is_reachable && j < findings->node_count; j++) {
            if (strcmp(findings->nodes[j].client, seen->address) == 0) {
                copy(findings->nodes[j].reason, sizeof(findings->nodes[j].reason), seen->reason);
            }
        }
    }
}

static void viewed(struct view *view, void *context)
{
    struct doctor *doctor = context;
    struct doctor_findings *findings = &doctor->findings;

    for (uint32_t i = 0; i < view->member_count; i++) {
        note_node(doctor, &view->members[i]);
    }
    note_silence(findings, view);
    note_leader(findings, view_leader(view));
    findings->states_differ = findings->states_differ || states_differ(view);
    if (findings->has_leader) {
        open_session(doctor);
    } else {
        go_on(doctor);
    }
}

static void look(struct doctor *doctor)
{
    view_ask(&doctor->view, doctor->run, viewed, doctor);
}

int doctor_run(struct run *run)
{
    struct doctor *doctor = calloc(1, sizeof(*doctor));

    if (doctor == NULL) {
        complain("doctor: there is no memory");
        return EXIT_REFUSED;
    }
    doctor->run = run;
    if (run->options->dir != NULL) {
        doctor_disk_measure(&doctor->findings.disk, run->options->dir);
    }
    if (!run_open(run, 1)) {
        free(doctor);
        return run->exit_status;
    }
    int error = uv_timer_init(&run->loop, &doctor->timer);

    ASSERT(error == 0);
    doctor->timer.data = doctor;
    doctor->begun_us = clock_now_us();
    look(doctor);
    run_loop(run);
    end_progress(doctor);
    int exit_status = doctor_report(&doctor->findings, &run->output, run->options);

    free(doctor);
    return exit_status;
}
