/* client/command/doctor.h: what `holdfast doctor` measures, and what it reports. */
#ifndef CLIENT_COMMAND_DOCTOR_H
#define CLIENT_COMMAND_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "client/command/doctor_judge.h"
#include "client/command/options.h"
#include "client/command/output.h"
#include "client/command/view.h"

enum { DOCTOR_PROBLEM_SIZE = 256 };

struct doctor_node {
    char name[VIEW_NAME_SIZE];
    char client[VIEW_ADDRESS_SIZE];
    char role[VIEW_ROLE_SIZE];
    char reason[VIEW_REASON_SIZE]; /* Of the last time that it did not answer. */
    uint32_t silent_count;
    bool is_reachable; /* The last time. */
    bool disk_is_low;
    struct doctor_samples answers; /* From dialing to the answer: three round trips. */
    struct doctor_reading first;
    struct doctor_reading last;
    bool has_first;
    bool has_last;
};

struct doctor_disk {
    bool is_measured;
    bool is_direct; /* Past the page cache. */
    char problem[DOCTOR_PROBLEM_SIZE];
    struct doctor_samples writes;
};

/* Writes and syncs blocks of 4 KiB in a new file of the folder, for at most two seconds, and
 * removes it. */
void doctor_disk_measure(struct doctor_disk *disk, const char *dir);

struct doctor_findings {
    struct doctor_node nodes[VIEW_NODE_COUNT_MAX];
    uint32_t node_count;
    struct doctor_samples commits; /* Of opening and ending a session, as seen from here. */
    uint32_t commit_failures;
    char commit_problem[VIEW_REASON_SIZE];
    struct doctor_disk disk;
    bool has_leader;
    bool states_differ; /* Two nodes had other states at the same index. */
    bool refuses_writes;
    char leader[VIEW_NAME_SIZE];
    uint32_t floor_ms; /* As the leader says. */
    struct doctor_limits limits;
};

/* Prints them, and what to do about each. Returns the exit status: 0 when all is well, 1 when
 * something wants attention, 77 without a leader. */
int doctor_report(struct doctor_findings *findings, struct output *output,
                  const struct options *options);

#endif
