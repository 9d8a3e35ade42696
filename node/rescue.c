/* node/rescue.c: identity, newest whole snapshot, log: looked at, then applied to one state. */
#include "node/rescue.h"

#include "base/assert.h"
#include "log/log.h"
#include "node/limits.h"
#include "node/machine.h"
#include "node/recovery.h"
#include "node/refounding.h"
#include "node/snapshot_file.h"

enum { NAME_COUNT = 64 }; /* As many as a node looks at. */

struct rescue {
    struct disk *disk;
    struct log *log;
    void *log_memory;
    uint8_t *memory; /* Of snapshot_file_memory_size(). */
    struct arena machine_arena;
    struct identity identity;
    struct disk_name snapshot; /* Of `base.index`; empty: the log begins with the formation. */
    struct raft_base base;     /* What the entries go on from. */
    struct raft_configuration members;
    raft_index last_index;
    raft_term last_term;
    raft_index commit_index;
    raft_term term; /* The newest that this node has seen. */
    const char *loss;
};

static size_t log_size(const struct node_options *options)
{
    struct identity identity = {.incarnation = 1};
    struct log_options log_options;

    recovery_log_options(options, &identity, &log_options);
    return log_memory_size(&log_options);
}

size_t rescue_memory_size(const struct node_options *options)
{
    return arena_cost(1, sizeof(struct rescue)) +
           arena_cost(1, log_size(options) + DISK_ALIGNMENT) +
           arena_cost(1, snapshot_file_memory_size() + DISK_ALIGNMENT) +
           arena_cost(1, machine_memory_size()) + ARENA_ALIGNMENT;
}

/* --- Looking ---------------------------------------------------------------------------------- */

static enum error find_identity(struct rescue *rescue, const char **problem)
{
    enum error error = refounding_finish(rescue->disk);

    if (error == ERR_OK) {
        error = identity_load(rescue->disk, &rescue->identity);
    }
    if (error == ERR_OK && !rescue->identity.formed) {
        error = ERR_MISSING;
    }
    if (error == ERR_MISSING) {
        *problem = "the folder belongs to no cluster: there is nothing to recover";
    } else if (error != ERR_OK) {
        *problem = "who this node was is not to be read: recover another node's folder";
    }
    return error;
}

/* The newest file that is whole, from its first byte to its last. */
static enum error find_snapshot(struct rescue *rescue, const char **problem)
{
    struct disk_name names[NAME_COUNT];
    uint32_t count = 0;
    enum error error = disk_list(rescue->disk, "snap-", names, NAME_COUNT, &count);

    identity_base(&rescue->identity, &rescue->base);
    for (uint32_t i = count; i-- > 0 && error == ERR_OK && rescue->base.index == 0;) {
        struct snapshot_found found;
        raft_index index = 0;

        if (snapshot_name_parse(&names[i], &index) != SNAPSHOT_NAME_WHOLE) {
            continue;
        }
        error = snapshot_file_read(rescue->disk, &names[i], rescue->identity.cluster, NULL,
                                   rescue->memory, &found);
        if (error == ERR_OK && found.file.index == index) {
            rescue->snapshot = names[i];
            rescue->base =
                (struct raft_base){found.file.index, found.file.term, found.configuration};
        } else if (error == ERR_CORRUPT || error == ERR_WRONG_CLUSTER || error == ERR_OK) {
            rescue->loss = error == ERR_CORRUPT ? "a snapshot is damaged" : rescue->loss;
            error = ERR_OK;
        }
    }
    if (error != ERR_OK) {
        *problem = error == ERR_VERSION
                       ? "another version wrote the snapshots: use that version"
                       : "reading the snapshots failed: recover another node's folder";
    }
    return error;
}

static enum error open_log(struct rescue *rescue, const struct node_options *options,
                           struct log_recovery *recovery, const char **problem)
{
    struct log_options log_options;
    struct arena arena;

    recovery_log_options(options, &rescue->identity, &log_options);
    arena_init(&arena, rescue->log_memory, log_size(options));
    *recovery = (struct log_recovery){0};
    enum error error = log_open(&rescue->log, &arena, &log_options, rescue->disk, recovery);

    if (error != ERR_OK) {
        *problem = "the log is not to be opened: recover another node's folder, or found a cluster "
                   "from the newest snapshot in this one with --restore";
    }
    return error;
}

/* The entries that follow the base without a gap, and what they say of the members. */
static void walk_log(struct rescue *rescue, const struct log_recovery *recovery)
{
    raft_index next = rescue->base.index + 1;

    while (next <= recovery->last_index) {
        struct log_fetched fetched;
        struct raft_entry entry;

        if (log_read_now(rescue->log, next, &fetched) != ERR_OK) {
            rescue->loss = "entries of the log are damaged";
            return;
        }
        while (fetched.records.size > 0) {
            if (!raft_entry_next(&fetched.records, &entry) || entry.index != next ||
                entry.term < rescue->last_term) {
                rescue->loss = "entries of the log are damaged";
                return;
            }
            if (entry.kind == RAFT_ENTRY_CONFIGURATION &&
                !raft_configuration_decode(entry.payload, &rescue->members)) {
                rescue->loss = "a list of members in the log is not to be read";
                return;
            }
            rescue->last_index = entry.index;
            rescue->last_term = entry.term;
            next++;
        }
    }
}

/* The log goes on from the base, unless a crash came while a snapshot was put in its place, or
 * something is missing. */
static bool log_continues(struct rescue *rescue, const struct log_recovery *recovery)
{
    const struct raft_base *base = &rescue->base;
    struct log_fetched fetched;
    struct raft_entry entry;

    if (recovery->last_index < base->index) {
        return false;
    }
    if (recovery->first_index > base->index + 1) {
        rescue->loss = "the log goes on from a snapshot that is not there any more";
        return false;
    }
    if (base->index == 0 || recovery->first_index > base->index) {
        return true;
    }
    return log_read_now(rescue->log, base->index, &fetched) == ERR_OK &&
           raft_entry_next(&fetched.records, &entry) && entry.term == base->term;
}

static enum error look_at_log(struct rescue *rescue, const struct node_options *options,
                              const char **problem)
{
    struct raft_hard_state hard_state = {0};
    struct log_recovery recovery;
    enum error error = open_log(rescue, options, &recovery, problem);

    if (error != ERR_OK) {
        return error;
    }
    if (recovery.hard_state.size != 0 &&
        !raft_hard_state_decode(recovery.hard_state, &hard_state)) {
        rescue->loss = "the term and the vote are not to be read";
    }
    rescue->members = rescue->base.configuration;
    rescue->last_index = rescue->base.index;
    rescue->last_term = rescue->base.term;
    if (log_continues(rescue, &recovery)) {
        walk_log(rescue, &recovery);
    }
    if (recovery.verdict == LOG_ROTTEN) {
        rescue->loss = "the log is damaged, and what lies behind the damage is not used";
    }
    rescue->term = hard_state.term > rescue->last_term ? hard_state.term : rescue->last_term;
    rescue->commit_index =
        hard_state.commit_index > rescue->base.index ? hard_state.commit_index : rescue->base.index;
    if (rescue->commit_index > rescue->last_index) {
        rescue->loss = "the end of the log, which was committed, is gone";
    }
    return ERR_OK;
}

enum error rescue_open(struct rescue **opened, struct arena *arena,
                       const struct node_options *options, struct disk *disk, const char **problem)
{
    struct rescue *rescue = arena_take(arena, 1, sizeof(*rescue));

    memset(rescue, 0, sizeof(*rescue));
    *opened = rescue;
    rescue->disk = disk;
    rescue->log_memory = arena_take_aligned(arena, log_size(options), DISK_ALIGNMENT);
    rescue->memory = arena_take_aligned(arena, snapshot_file_memory_size(), DISK_ALIGNMENT);
    arena_init(&rescue->machine_arena, arena_take(arena, 1, machine_memory_size()),
               machine_memory_size());
    enum error error = find_identity(rescue, problem);

    if (error == ERR_OK) {
        error = find_snapshot(rescue, problem);
    }
    return error == ERR_OK ? look_at_log(rescue, options, problem) : error;
}

void rescue_describe(const struct rescue *rescue, struct rescue_report *report)
{
    *report = (struct rescue_report){
        .identity = &rescue->identity,
        .members = &rescue->members,
        .snapshot_index = rescue->base.index,
        .last_index = rescue->last_index,
        .last_term = rescue->last_term,
        .commit_index = rescue->commit_index,
        .loss = rescue->loss,
    };
}

/* --- Doing ------------------------------------------------------------------------------------ */

static enum error apply(struct rescue *rescue, struct table *table, struct machine *machine)
{
    while (machine_applied_index(machine) < rescue->last_index) {
        struct log_fetched fetched;
        struct raft_entry entry;
        enum error error = log_read_now(rescue->log, machine_applied_index(machine) + 1, &fetched);

        while (error == ERR_OK && machine_applied_index(machine) < rescue->last_index &&
               fetched.records.size > 0) {
            struct machine_result result;

            if (!raft_entry_next(&fetched.records, &entry)) {
                return ERR_CORRUPT;
            }
            machine_apply(machine, &entry, &result);
        }
        if (error == ERR_OK && table_dirty_bytes(table) >= COMMIT_SIZE_MAX) {
            machine_commit(machine);
        }
        error = error == ERR_OK ? table_error(table) : error;
        if (error != ERR_OK) {
            return error;
        }
    }
    return ERR_OK;
}

/* The state as the folder has it, in the table. */
static enum error rebuild(struct rescue *rescue, struct table *table, struct machine **machine)
{
    enum error error = ERR_OK;

    if (rescue->base.index == 0) {
        table_load_begin(table);
        table_load_end(table, false);
        error = table_error(table);
    } else {
        struct snapshot_found found;

        error = snapshot_file_read(rescue->disk, &rescue->snapshot, rescue->identity.cluster, table,
                                   rescue->memory, &found);
    }
    *machine = machine_open(&rescue->machine_arena, table);
    if (error == ERR_OK && machine_applied_index(*machine) != rescue->base.index) {
        error = ERR_CORRUPT;
    }
    return error == ERR_OK ? apply(rescue, table, *machine) : error;
}

/* Where it was reached until now, as far as that is known. */
static bool describe_self(const struct rescue *rescue, uint64_t incarnation, struct member *self)
{
    const struct identity *old = &rescue->identity;
    struct member member = {0};

    for (uint32_t i = 0; i < rescue->members.member_count; i++) {
        struct member listed;

        member_of(&rescue->members.members[i], &listed);
        if (listed.incarnation == old->incarnation) {
            member = listed;
        }
    }
    return member_set(self, incarnation, bytes_of_text(old->name), bytes_of_text(member.peer),
                      bytes_of_text(member.client));
}

static bool make_identity(const struct rescue *rescue, const struct rescue_lots *lots,
                          struct identity *identity)
{
    *identity = (struct identity){
        .incarnation = lots->incarnation,
        .formed = true,
        .self = 1,
        .member_count = 1,
        .members = {{.id = 1}},
    };
    memcpy(identity->name, rescue->identity.name, sizeof(identity->name));
    memcpy(identity->cluster, lots->cluster, IDENTITY_CLUSTER_SIZE);
    return describe_self(rescue, lots->incarnation, &identity->members[0].member) &&
           identity_is_consistent(identity);
}

enum error rescue_run(struct rescue *rescue, struct table *table, const struct rescue_lots *lots,
                      const char **problem)
{
    struct machine *machine = NULL;
    struct identity identity;

    ASSERT_VALUES(lots->incarnation > NODE_MEMBER_COUNT_MAX, lots->incarnation, 0);
    if (!make_identity(rescue, lots, &identity)) {
        *problem = "this node's name or addresses are not valid";
        return ERR_INVALID;
    }
    *problem = "reading the old state failed; nothing was changed";
    enum error error = rebuild(rescue, table, &machine);

    if (error == ERR_OK) {
        error = refounding_turn(machine, table, 1);
    }
    if (error == ERR_OK) {
        *problem = "writing the new state failed; the folder is as it was";
        error = refounding_write(rescue->disk, machine, table, &identity,
                                 rescue->term == 0 ? 1 : rescue->term, rescue->memory);
    }
    if (error == ERR_OK) {
        *problem = "putting the new state in place of the old one failed; run it again";
        error = refounding_replace(rescue->disk, &identity, machine_applied_index(machine));
    }
    return error;
}
