/* client/command/top_picture.c: what two looks at a cluster say, and how it looks. */
#define _GNU_SOURCE
#include <string.h>

#include "base/assert.h"
#include "base/duration.h"
#include "client/command/lock_ask.h"
#include "client/command/top.h"

enum {
    NAME_WIDTH = 10,
    ROLE_WIDTH = 13,
    NUMBER_WIDTH = 11,
    LOCK_WIDTH = 24,
    LEVEL_COUNT = 8, /* Of the bars of the history. */
    US_IN_S = 1000 * 1000,
};

static void copy(char *to, size_t size, const char *from)
{
    struct text text;

    text_init(&text, to, size);
    text_add(&text, from);
}

void top_picture_init(struct top_picture *picture, bool is_terminal)
{
    *picture = (struct top_picture){.is_terminal = is_terminal};
}

static uint64_t rate_of(uint64_t before, uint64_t now, uint64_t passed_us)
{
    if (now <= before || passed_us == 0) {
        return 0;
    }
    uint64_t difference = now - before;

    return difference > UINT64_MAX / US_IN_S ? UINT64_MAX : difference * US_IN_S / passed_us;
}

static const struct top_node *find(const struct top_picture *picture, const char *name)
{
    for (uint32_t i = 0; i < picture->node_count; i++) {
        if (picture->nodes[i].is_reachable && strcmp(picture->nodes[i].name, name) == 0) {
            return &picture->nodes[i];
        }
    }
    return NULL;
}

static void take_node(struct top_node *to, const struct view_member *member,
                      const struct top_picture *before, uint64_t passed_us)
{
    const struct view_node *node = member->node;

    *to = (struct top_node){.is_reachable = node != NULL};
    copy(to->name, sizeof(to->name), member->name[0] == '\0' ? "?" : member->name);
    copy(to->client, sizeof(to->client), member->client);
    copy(to->role, sizeof(to->role), node == NULL ? "unreachable" : node->role);
    if (node == NULL) {
        return;
    }
    const struct top_node *last = find(before, to->name);

    to->term = node->term;
    to->commit = node->commit;
    to->disk_is_low = node->disk_is_low;
    to->disk_free = node->disk_free;
    to->answers = node->answers;
    to->refusals = node->refusals;
    if (last != NULL) {
        to->answer_rate = rate_of(last->answers, node->answers, passed_us);
        to->refusal_rate = rate_of(last->refusals, node->refusals, passed_us);
    }
}

static void remember(struct top_picture *picture, uint64_t rate)
{
    if (picture->history_count == TOP_HISTORY_COUNT) {
        memmove(&picture->history[0], &picture->history[1],
                (TOP_HISTORY_COUNT - 1) * sizeof(picture->history[0]));
        picture->history_count--;
    }
    picture->history[picture->history_count++] = rate;
}

void top_picture_take_nodes(struct top_picture *picture, const struct view *view, uint64_t now_us)
{
    const struct top_picture before = *picture;
    const struct view_node *leader = view_leader(view);
    uint64_t passed_us = before.has_begun ? now_us - before.seen_us : 0;
    uint64_t commit = 0;

    copy(picture->cluster, sizeof(picture->cluster), view->cluster);
    picture->has_begun = true;
    picture->seen_us = now_us;
    picture->has_leader = leader != NULL;
    picture->refuses_writes = leader != NULL && leader->refuses_writes;
    picture->sessions = leader == NULL ? before.sessions : leader->sessions;
    picture->term = view_term(view);
    picture->node_count = view->member_count;
    for (uint32_t i = 0; i < view->member_count; i++) {
        const struct view_node *node = view->members[i].node;

        take_node(&picture->nodes[i], &view->members[i], &before, passed_us);
        picture->nodes[i].leads = node != NULL && node == leader;
        commit = node != NULL && node->commit > commit ? node->commit : commit;
    }
    /* What is committed stays so, though the node that knew it may be gone for now. */
    picture->commit = commit > before.commit ? commit : before.commit;
    picture->commit_rate = rate_of(before.commit, picture->commit, passed_us);
    if (before.has_begun) {
        remember(picture, picture->commit_rate);
    }
}

static bool is_busier(const struct top_lock *a, const struct top_lock *b)
{
    return a->waiters != b->waiters ? a->waiters > b->waiters : a->age_ms > b->age_ms;
}

static void insert(struct top_picture *picture, const struct top_lock *lock)
{
    uint32_t at = picture->lock_count;

    while (at > 0 && is_busier(lock, &picture->locks[at - 1])) {
        at--;
    }
    if (at == TOP_LOCK_COUNT_MAX) {
        return;
    }
    if (picture->lock_count < TOP_LOCK_COUNT_MAX) {
        picture->lock_count++;
    }
    memmove(&picture->locks[at + 1], &picture->locks[at],
            (picture->lock_count - at - 1) * sizeof(picture->locks[0]));
    picture->locks[at] = *lock;
}

void top_picture_take_locks(struct top_picture *picture, const struct holdfast_result *result)
{
    picture->lock_count = 0;
    picture->locks_seen = 0;
    picture->knows_locks = result->status == HOLDFAST_OK;
    picture->has_more_locks = picture->knows_locks && result->more;
    for (size_t i = 0; picture->knows_locks && i < result->lock_count; i++) {
        const struct holdfast_lock_info *info = &result->locks[i];
        struct top_lock lock = {
            .name_size = size_min(info->name_size, sizeof(lock.name)),
            .mode = info->mode,
            .holders = info->holders,
            .waiters = info->waiters,
            .token = info->token,
            .age_ms = info->age_ms,
        };

        memcpy(lock.name, info->name, lock.name_size);
        copy(lock.owner, sizeof(lock.owner), info->owner);
        insert(picture, &lock);
        picture->locks_seen++;
    }
}

/* --- As JSON ---------------------------------------------------------------------------------- */

static void add_bool(struct output *output, const char *name, bool value)
{
    output_name(output, name);
    text_add(&output->text, value ? "true" : "false");
}

static uint64_t behind(const struct top_picture *picture, const struct top_node *node)
{
    return picture->commit > node->commit ? picture->commit - node->commit : 0;
}

static void draw_json(const struct top_picture *picture, struct output *output)
{
    text_add(&output->text, "{");
    output_text(output, "cluster", picture->cluster);
    output_u64(output, "term", picture->term);
    add_bool(output, "has_leader", picture->has_leader);
    add_bool(output, "refuses_writes", picture->refuses_writes);
    output_u64(output, "sessions", picture->sessions);
    output_u64(output, "commits_per_s", picture->commit_rate);
    output_name(output, "nodes");
    text_add(&output->text, "[");
    for (uint32_t i = 0; i < picture->node_count; i++) {
        const struct top_node *node = &picture->nodes[i];

        text_add(&output->text, i == 0 ? "{" : ",{");
        output_text(output, "name", node->name);
        output_text(output, "client", node->client);
        output_text(output, "role", node->role);
        add_bool(output, "reachable", node->is_reachable);
        output_u64(output, "term", node->term);
        output_u64(output, "commit", node->commit);
        output_u64(output, "behind", node->is_reachable ? behind(picture, node) : 0);
        output_u64(output, "answers_per_s", node->answer_rate);
        output_u64(output, "refusals_per_s", node->refusal_rate);
        text_add(&output->text, "}");
    }
    text_add(&output->text, "]");
    output_name(output, "locks");
    text_add(&output->text, "[");
    for (uint32_t i = 0; i < picture->lock_count; i++) {
        const struct top_lock *lock = &picture->locks[i];

        text_add(&output->text, i == 0 ? "{" : ",{");
        output_bytes(output, "name", bytes_of(lock->name, lock->name_size));
        output_text(output, "mode", lock_mode_text(lock->mode));
        output_u64(output, "holders", lock->holders);
        output_u64(output, "waiters", lock->waiters);
        output_u64(output, "token", lock->token);
        output_u64(output, "age_ms", lock->age_ms);
        output_text(output, "owner", lock->owner);
        text_add(&output->text, "}");
    }
    text_add(&output->text, "]}");
    output_line(output);
}

/* --- For people ------------------------------------------------------------------------------- */

/* Lines of a terminal clear what the picture before had behind them. */
static void end_line(const struct top_picture *picture, struct output *output)
{
    text_add(&output->text, picture->is_terminal ? "\033[K\n" : "\n");
}

static void draw_history(const struct top_picture *picture, struct output *output)
{
    static const char *const levels[LEVEL_COUNT] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    uint64_t most = 1;

    for (uint32_t i = 0; i < picture->history_count; i++) {
        most = picture->history[i] > most ? picture->history[i] : most;
    }
    for (uint32_t i = 0; i < picture->history_count; i++) {
        uint64_t level =
            picture->history[i] == 0
                ? 0
                : (uint64_t)((double)picture->history[i] / (double)most * (LEVEL_COUNT - 1) + 0.5);

        text_add(&output->text, levels[level]);
    }
    if (picture->history_count != 0) {
        text_add(&output->text, "  most ");
        text_add_u64(&output->text, most);
    }
}

static void draw_head(const struct top_picture *picture, struct output *output)
{
    text_add(&output->text, "cluster ");
    text_add(&output->text, picture->cluster[0] == '\0' ? "unknown" : picture->cluster);
    text_add(&output->text, picture->has_leader ? "   term " : "   no leader   term ");
    text_add_u64(&output->text, picture->term);
    text_add(&output->text, "   sessions ");
    text_add_u64(&output->text, picture->sessions);
    if (picture->refuses_writes) {
        text_add(&output->text, "   writes are refused: the disks of a majority are low");
    }
    end_line(picture, output);
    text_add(&output->text, "commits/s ");
    output_column_u64(output, picture->commit_rate, NUMBER_WIDTH);
    draw_history(picture, output);
    end_line(picture, output);
    end_line(picture, output);
}

static void draw_free(const struct top_node *node, struct output *output)
{
    if (node->disk_is_low) {
        text_add(&output->text, "disk low");
    } else if (node->disk_free != 0) {
        text_add_fixed(&output->text, (node->disk_free >> 20) * 10 / 1024, 1);
        text_add(&output->text, " GiB free");
    }
}

static void draw_nodes(const struct top_picture *picture, struct output *output)
{
    text_add(&output->text, "  NODE       ROLE          TERM        COMMIT      BEHIND      "
                            "ANSWERS/S   REFUSED/S   DISK");
    end_line(picture, output);
    for (uint32_t i = 0; i < picture->node_count; i++) {
        const struct top_node *node = &picture->nodes[i];

        text_add(&output->text, node->leads ? "* " : "  ");
        output_column(output, bytes_of_text(node->name), NAME_WIDTH);
        output_column(output, bytes_of_text(node->role), ROLE_WIDTH);
        if (node->is_reachable) {
            output_column_u64(output, node->term, NUMBER_WIDTH);
            output_column_u64(output, node->commit, NUMBER_WIDTH);
            output_column_u64(output, behind(picture, node), NUMBER_WIDTH);
            output_column_u64(output, node->answer_rate, NUMBER_WIDTH);
            output_column_u64(output, node->refusal_rate, NUMBER_WIDTH);
            draw_free(node, output);
        } else {
            text_add(&output->text, node->client);
        }
        end_line(picture, output);
    }
    end_line(picture, output);
}

/* A byte that is not printable would move the terminal's cursor: it shows as a dot. */
static void draw_name(const struct top_lock *lock, struct output *output)
{
    uint8_t shown[LOCK_WIDTH];
    size_t size = size_min(lock->name_size, sizeof(shown));

    for (size_t i = 0; i < size; i++) {
        shown[i] = lock->name[i] < ' ' || lock->name[i] > '~' ? '.' : lock->name[i];
    }
    output_column(output, bytes_of(shown, size), LOCK_WIDTH);
}

static void draw_locks(const struct top_picture *picture, struct output *output)
{
    if (!picture->knows_locks || picture->lock_count == 0) {
        text_add(&output->text, picture->knows_locks ? "no lock is held" : "locks: not known");
        end_line(picture, output);
        return;
    }
    text_add(&output->text, "LOCK                     MODE        HOLDERS     WAITING     "
                            "TOKEN       AGE         OWNER");
    end_line(picture, output);
    for (uint32_t i = 0; i < picture->lock_count; i++) {
        const struct top_lock *lock = &picture->locks[i];
        char age[DURATION_TEXT_SIZE];

        draw_name(lock, output);
        output_column(output, bytes_of_text(lock_mode_text(lock->mode)), NUMBER_WIDTH);
        output_column_u64(output, lock->holders, NUMBER_WIDTH);
        output_column_u64(output, lock->waiters, NUMBER_WIDTH);
        output_column_u64(output, lock->token, NUMBER_WIDTH);
        output_column(output, bytes_of_text(duration_to_text(lock->age_ms, age)), NUMBER_WIDTH);
        text_add(&output->text, lock->owner);
        end_line(picture, output);
    }
    if (picture->has_more_locks || picture->locks_seen > picture->lock_count) {
        text_add(&output->text, picture->has_more_locks ? "of more than " : "of ");
        text_add_u64(&output->text, picture->locks_seen);
        text_add(&output->text, " locks");
        end_line(picture, output);
    }
}

void top_picture_draw(const struct top_picture *picture, struct output *output, bool json)
{
    if (json) {
        draw_json(picture, output);
        return;
    }
    if (picture->is_terminal) {
        text_add(&output->text, "\033[H");
    }
    draw_head(picture, output);
    draw_nodes(picture, output);
    draw_locks(picture, output);
    text_add(&output->text, picture->is_terminal ? "\033[J" : "");
    output_flush(output);
}
