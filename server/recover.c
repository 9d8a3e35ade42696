/* server/recover.c: tells, asks, does. What it means is for node/rescue.c. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/recover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/text.h"
#include "node/rescue.h"
#include "server/data_folder.h"
#include "server/disk_posix.h"
#include "server/folder.h"
#include "server/table_behind.h"

enum { TEXT_SIZE = 8192, ANSWER_SIZE = 128, CLUSTER_TEXT_SIZE = 2 * IDENTITY_CLUSTER_SIZE + 1 };

struct recover {
    const struct config *config;
    struct disk *disk;
    struct rescue *rescue;
    struct rescue_report report;
    char cluster[CLUSTER_TEXT_SIZE]; /* As `holdfast status` shows it. */
};

/* --- What is said ----------------------------------------------------------------------------- */

/* NULL ends the pieces. Of a line that nobody can read there is nobody to tell. */
static void say(int descriptor, const char *const *pieces)
{
    char memory[TEXT_SIZE];
    struct text text;

    text_init(&text, memory, sizeof(memory));
    for (size_t i = 0; pieces[i] != NULL; i++) {
        text_add(&text, pieces[i]);
    }
    text_add(&text, "\n");
    enum error unheard = folder_write_all(descriptor, bytes_of(text.data, text.size));

    (void)unheard;
}

#define PIECES(...) ((const char *const[]){__VA_ARGS__, NULL})

static int refuse(const struct recover *recover, const char *what, const char *why)
{
    say(STDERR_FILENO, PIECES("holdfastd: recover ", recover->config->data, ": ", what,
                              why[0] == '\0' ? "" : ": ", why));
    return 1;
}

static void cluster_to_text(const uint8_t cluster[IDENTITY_CLUSTER_SIZE], char *to)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < IDENTITY_CLUSTER_SIZE; i++) {
        to[2 * i] = digits[cluster[i] >> 4];
        to[2 * i + 1] = digits[cluster[i] & 15];
    }
    to[CLUSTER_TEXT_SIZE - 1] = '\0';
}

static void add_members(struct text *text, const struct raft_configuration *members)
{
    for (uint32_t i = 0; i < members->member_count; i++) {
        const struct raft_member *member = &members->members[i];
        struct member described;

        member_of(member, &described);
        text_add(text, i == 0 ? "" : ", ");
        text_add(text, described.name);
        text_add(text, (member->parts & RAFT_PART_LEARNER) != 0 ? " (learner)" : "");
    }
}

static void add_number(struct text *text, const char *name, uint64_t value)
{
    text_add(text, name);
    text_add_u64(text, value);
}

static void tell(const struct recover *recover)
{
    const struct rescue_report *report = &recover->report;
    char memory[TEXT_SIZE];
    struct text text;

    text_init(&text, memory, sizeof(memory));
    text_add(&text, "The folder ");
    text_add(&text, recover->config->data);
    text_add(&text, " of node ");
    text_add(&text, report->identity->name);
    text_add(&text, " has:\n  cluster     ");
    text_add(&text, recover->cluster);
    text_add(&text, "\n  members     ");
    add_members(&text, report->members);
    add_number(&text, " (as of index ", report->members->index);
    add_number(&text, ")\n  last entry  term ", report->last_term);
    add_number(&text, ", index ", report->last_index);
    add_number(&text, "\n  committed   up to index ", report->commit_index);
    text_add(&text, " at least\n  snapshot    ");
    add_number(&text, report->snapshot_index == 0 ? "none, index " : "index ",
               report->snapshot_index);
    if (report->loss != NULL) {
        text_add(&text, "\n  lost        ");
        text_add(&text, report->loss);
    }
    text_add(&text,
             "\n\nRecover only when a majority of the members is gone for good. Of several folders"
             "\nthat are left, recover one: the one whose last entry has the larger term; of equal"
             "\nterms, the larger index. To compare, run this command on each, and do not answer."
             "\nMake a copy of the folder first."
             "\n\nThis node becomes the only member of a NEW cluster:"
             "\n  - Writes that were acknowledged and did not reach this node are lost."
             "\n  - Entries that this node has count as committed, whether they were or not."
             "\n  - All sessions end and all locks are free, though their holders may believe"
             "\n    otherwise: a lock may be granted twice. Tokens and revisions rise by 2^40, so a"
             "\n    resource that checks tokens shuts the old holders out."
             "\n  - Nodes of the old cluster are refused. Never start two of them again: together"
             "\n    they would go on as the old cluster. Empty their folders and add them.\n");
    say(STDOUT_FILENO, PIECES(memory));
}

/* --- Asking ----------------------------------------------------------------------------------- */

static bool read_answer(char answer[ANSWER_SIZE])
{
    size_t size = 0;

    while (size + 1 < ANSWER_SIZE) {
        ssize_t result = read(STDIN_FILENO, answer + size, 1);

        if (result < 0 && errno == EINTR) {
            continue;
        }
        if (result <= 0 || answer[size] == '\n') {
            break;
        }
        size++;
    }
    answer[size] = '\0';
    return size > 0;
}

static bool is_wanted(const struct recover *recover)
{
    char answer[ANSWER_SIZE];

    if (recover->config->accepts_loss) {
        return true;
    }
    say(STDOUT_FILENO, PIECES("To go on, type the id of the cluster (", recover->cluster, "):"));
    return read_answer(answer) && strcmp(answer, recover->cluster) == 0;
}

/* --- Doing ------------------------------------------------------------------------------------ */

static bool draw(struct rescue_lots *lots)
{
    do {
        if (getrandom(lots, sizeof(*lots), 0) != (ssize_t)sizeof(*lots)) {
            return false;
        }
    } while (lots->incarnation <= NODE_MEMBER_COUNT_MAX);
    lots->cluster[0] |= 1; /* Zeros mean: not formed. */
    return true;
}

static int recover_now(struct recover *recover)
{
    const struct config *config = recover->config;
    struct rescue_lots lots;
    char cluster[CLUSTER_TEXT_SIZE];
    struct table *table;
    const char *problem = "";
    bool was_clean = false;

    if (!draw(&lots)) {
        return refuse(recover, "the system gives no random numbers", strerror(errno));
    }
    enum error error = table_behind_open(&table, config->data, config->map_size,
                                         TABLE_BEHIND_MEMTABLE_SIZE, &was_clean);
    if (error != ERR_OK) {
        return refuse(recover, "opening the table failed; nothing was changed", strerror(errno));
    }
    error = rescue_run(recover->rescue, table, &lots, &problem);
    table_behind_close(table);
    if (error != ERR_OK) {
        struct disk_failure failure = disk_posix_failure(recover->disk);

        return refuse(recover, problem,
                      failure.number == 0 ? error_text(error) : strerror(failure.number));
    }
    cluster_to_text(lots.cluster, cluster);
    say(STDOUT_FILENO,
        PIECES("Recovered as cluster ", cluster, ". Start node ", recover->report.identity->name,
               " as before: it is the only member."));
    say(STDOUT_FILENO, PIECES("Then, for each other node: empty its folder, start it, and run "
                              "`holdfast member add NAME`."));
    return 0;
}

static int look_and_ask(struct recover *recover, const struct node_options *options,
                        struct arena *arena)
{
    const char *problem = "";
    enum error error = rescue_open(&recover->rescue, arena, options, recover->disk, &problem);

    if (error != ERR_OK) {
        struct disk_failure failure = disk_posix_failure(recover->disk);

        return refuse(recover, problem,
                      failure.number == 0 ? error_text(error) : strerror(failure.number));
    }
    rescue_describe(recover->rescue, &recover->report);
    cluster_to_text(recover->report.identity->cluster, recover->cluster);
    tell(recover);
    if (!is_wanted(recover)) {
        return refuse(recover, "not recovered, nothing was changed",
                      "the answer is not the id of the cluster");
    }
    return recover_now(recover);
}

/* Its lock is held. */
static int recover_folder(struct recover *recover)
{
    struct node_options options;
    struct arena arena;

    node_options_init(&options);
    options.segment_count_max = (uint32_t)recover->config->max_segments;
    size_t size = rescue_memory_size(&options);
    enum error error = disk_posix_open(&recover->disk, recover->config->data, NULL);

    if (error != ERR_OK) {
        return refuse(recover, "opening the folder failed", strerror(errno));
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int status = 1;

    if (memory == MAP_FAILED) {
        status = refuse(recover, "there is no memory", strerror(errno));
    } else {
        arena_init(&arena, memory, size);
        status = look_and_ask(recover, &options, &arena);
        (void)munmap(memory, size);
    }
    disk_posix_close(recover->disk);
    return status;
}

int recover_run(const struct config *config)
{
    struct recover recover = {.config = config};
    int lock = -1;
    enum error error = data_folder_check(config->data);

    if (error == ERR_OK) {
        error = data_folder_open(config->data, &lock);
    }
    if (error == ERR_MISSING) {
        return refuse(&recover, "there is no data folder of a node", "");
    }
    if (error == ERR_IN_USE) {
        return refuse(&recover, "a holdfastd uses it; stop that first", "");
    }
    if (error == ERR_VERSION) {
        return refuse(&recover, "it was written by another version or program", "");
    }
    if (error != ERR_OK) {
        return refuse(&recover, "opening it failed", strerror(errno));
    }
    int status = recover_folder(&recover);

    data_folder_close(lock);
    return status;
}
