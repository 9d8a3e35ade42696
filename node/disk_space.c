/* node/disk_space.c: disks that are nearly full, and writes that are refused because of them.
 *
 * The world tells every node now and then how much room its disk has left. Each node decides for
 * itself whether that is low, with a gap between beginning and end, and tells all others. While a
 * majority of the voters is low a leader refuses what would make logs and tables grow: else those
 * disks would fill together, and with them the cluster would end. Fewer low disks stop nothing. It
 * ends by itself. What one node was told last of another's disk holds until that one says something
 * else: a disk does not become empty because its node is silent. */
#include "base/assert.h"
#include "node/internal.h"

/* What makes room, or gives locks and sessions back, is always taken. */
static bool makes_room(enum wire_method method)
{
    return method == WIRE_METHOD_delete || method == WIRE_METHOD_lock_release ||
           method == WIRE_METHOD_session_end || method == WIRE_METHOD_session_renew;
}

/* --- Our own disk ----------------------------------------------------------------------------- */

static void log_own(struct node *node)
{
    const struct told_space *own = &node->disk_space.own;
    struct line line;

    line_begin(&line, own->is_low ? "disk_low" : "disk_has_room");
    line_add_u64(&line, "free_bytes", own->free_size);
    line_add_u64(&line, "disk_low_bytes", node->options.disk_low_size);
    if (own->is_low) {
        line_add(&line, "text",
                 "make room on the disk of --data: writes are refused when a majority is low");
    }
    line_write(node, own->is_low ? WORLD_WARNING : WORLD_INFO, &line);
}

void disk_space_take(struct node *node, uint64_t free_size)
{
    struct disk_space *space = &node->disk_space;
    uint64_t low_size = node->options.disk_low_size;
    uint64_t limit = space->own.is_low ? low_size + low_size / DISK_LOW_GAP : low_size;
    bool was_low = space->own.is_low;

    space->own = (struct told_space){
        .incarnation = node->identity.incarnation,
        .free_size = free_size,
        .is_low = free_size < limit,
    };
    if (was_low != space->own.is_low) {
        log_own(node);
        space->tell_ms = node->now_ms;
        space->judge_ms = node->now_ms;
    }
}

/* --- The others' ------------------------------------------------------------------------------ */

static void tell(struct node *node)
{
    uint8_t memory[SPACE_BODY_SIZE_MAX];
    struct buffer body = buffer_of(memory, sizeof(memory));
    const struct wire_peer_space space = {
        .low = node->disk_space.own.is_low,
        .free = node->disk_space.own.free_size,
    };
    bool fits = wire_peer_space_encode(&space, &body);

    ASSERT_VALUES(fits, body.size, body.capacity);
    for (uint32_t i = 0; i < NODE_PEER_COUNT_MAX; i++) {
        if (i != node->options.self && node->peers[i].id != 0) {
            (void)peers_send_body(node, node->peers[i].id, WIRE_FRAME_SPACE, buffer_bytes(&body));
        }
    }
}

bool disk_space_take_frame(struct node *node, uint32_t place, const struct wire_frame *frame)
{
    struct told_space *known = &node->peers[place].space;
    struct bytes body = frame->body;
    struct wire_peer_space space;

    if (wire_peer_space_decode(&body, &space) != ERR_OK || body.size != 0) {
        return false;
    }
    if (known->is_low != space.low || known->incarnation != frame->incarnation) {
        node->disk_space.judge_ms = node->now_ms;
    }
    *known = (struct told_space){
        .incarnation = frame->incarnation,
        .free_size = space.free,
        .is_low = space.low,
    };
    return true;
}

const struct told_space *disk_space_of(const struct node *node, const struct raft_member *listed)
{
    uint32_t place =
        listed->id == node->identity.self ? node->options.self : place_of_id(node, listed->id);
    const struct told_space *space;

    if (place == NO_PEER) {
        return NULL;
    }
    space = place == node->options.self ? &node->disk_space.own : &node->peers[place].space;
    return space->incarnation == member_incarnation(listed) ? space : NULL;
}

/* --- Judging ---------------------------------------------------------------------------------- */

/* Is a majority low of those voters that have `part`? */
static bool majority_is_low(const struct node *node, enum raft_part part)
{
    const struct raft_configuration *present = raft_configuration(node->raft);
    uint32_t voters = 0;
    uint32_t low = 0;

    for (uint32_t i = 0; i < present->member_count; i++) {
        const struct raft_member *listed = &present->members[i];
        const struct told_space *space = disk_space_of(node, listed);

        if ((listed->parts & part) != 0) {
            voters++;
            low += space != NULL && space->is_low ? 1 : 0;
        }
    }
    return 2 * low > voters;
}

static void add_low_names(const struct node *node, struct text *text)
{
    const struct raft_configuration *present = raft_configuration(node->raft);
    const char *between = "";

    for (uint32_t i = 0; i < present->member_count; i++) {
        const struct raft_member *listed = &present->members[i];
        const struct told_space *space = disk_space_of(node, listed);
        struct member member;

        if (space == NULL || !space->is_low || (listed->parts & RAFT_PART_LEARNER) != 0) {
            continue;
        }
        member_of(listed, &member);
        text_add(text, between);
        text_add(text, member.name);
        between = ", ";
    }
}

static void log_refusing(struct node *node)
{
    char names[MEMBERS_TEXT_SIZE + NODE_MEMBER_COUNT_MAX];
    struct text text;
    struct line line;

    line_begin(&line, node->disk_space.refuses ? "writes_refused" : "writes_taken");
    if (node->disk_space.refuses) {
        text_init(&text, names, sizeof(names));
        add_low_names(node, &text);
        line_add(&line, "disks_low", names);
        line_add(&line, "text", "a majority has no room: only what makes room is taken");
    }
    line_write(node, node->disk_space.refuses ? WORLD_WARNING : WORLD_INFO, &line);
}

void disk_space_tick(struct node *node)
{
    struct disk_space *space = &node->disk_space;

    if (space->own.incarnation != 0 && node->now_ms >= space->tell_ms) {
        space->tell_ms = node->now_ms + SPACE_TELL_MS;
        tell(node);
    }
    if (node->now_ms < space->judge_ms) {
        return;
    }
    space->judge_ms = node->now_ms + SPACE_JUDGE_MS;
    /* In a joint configuration both sets write every entry. */
    bool refuses =
        majority_is_low(node, RAFT_PART_VOTER) || majority_is_low(node, RAFT_PART_OUTGOING);

    if (refuses != space->refuses) {
        space->refuses = refuses;
        log_refusing(node);
    }
}

uint64_t disk_space_wake_ms(const struct node *node)
{
    const struct disk_space *space = &node->disk_space;

    return space->own.incarnation == 0 ? FAR_FUTURE_MS : space->tell_ms;
}

bool disk_space_refuses(struct node *node, const struct origin *origin, enum wire_method method)
{
    char memory[FAILURE_TEXT_SIZE_MAX + 1];
    struct text text;
    struct wire_failure failure = {.code = ERR_OVERLOADED, .retry_after_ms = RETRY_MS_DISK_LOW};

    if (!node->disk_space.refuses || makes_room(method)) {
        return false;
    }
    text_init(&text, memory, sizeof(memory));
    text_add(&text, "disk low on ");
    add_low_names(node, &text);
    text_add(&text, ": make room there, or delete keys; releases are taken too");
    failure.text = bytes_of(text.data, text.size);
    answer_failure(node, origin, &failure);
    return true;
}
