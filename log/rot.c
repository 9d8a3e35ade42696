/* log/rot.c: a log with damaged segments: where do good batches go on, and what is lost between?
 *
 * The damage begins where recovery stopped. Behind it the next batch that is intact at its place
 * is taken up again, within the segment or by the header of the next one, and says with which
 * index it goes on. What happened to the records in between cannot be known: the damaged batches
 * may have cut off some in front of them, or begun anew. docs/log.md draws the cases. */
#include "base/assert.h"
#include "log/recovery.h"

/* How the walk through the damaged segment ended. */
enum walk { WALK_LOST, WALK_SEGMENT_ENDED, WALK_LOG_ENDED };

/* The next intact batch at or behind `place` in its segment; `*found` is false when there is none.
 * A file that is missing or too short holds none. */
static enum error find_batch(struct recovery *recovery, struct log_place *place,
                             struct log_batch_header *header, bool *found)
{
    struct log *log = recovery->log;

    ASSERT(place->offset % LOG_BLOCK_SIZE == 0);
    for (*found = false; place->offset < log->segment_size; place->offset += LOG_BLOCK_SIZE) {
        const uint8_t *data = NULL;
        enum error error = recovery_read(recovery, *place, LOG_BLOCK_SIZE, &data);

        if (error != ERR_OK) {
            return error == ERR_IO ? error : ERR_OK;
        }
        if (log_batch_decode(data, *place, header) != ERR_OK ||
            !log_identity_equal(&header->identity, &log->identity) ||
            header->sequence < log->position.next_sequence ||
            header->hard_state.generation < recovery->hard_state.generation ||
            header->total_size > log->batch_size_max ||
            header->total_size > log->segment_size - place->offset) {
            continue;
        }
        error = recovery_read(recovery, *place, header->total_size, &data);
        if (error == ERR_IO) {
            return error;
        }
        if (error == ERR_OK && log_batch_is_intact(data, header, *place)) {
            *found = true;
            return ERR_OK;
        }
    }
    return ERR_OK;
}

/* The batch is taken for the next one, whatever was before it. */
static void take_up(struct recovery *recovery, struct log_place place,
                    const struct log_batch_header *header)
{
    struct log *log = recovery->log;

    log->position.place = place;
    log->position.next_sequence = header->sequence;
    log->position.checksum = header->previous_checksum;
    recovery->hard_state = header->hard_state;
    recovery->has_ended = false;
    if (header->kind != LOG_BATCH_SNAPSHOT_BASE) {
        recovery_go_to(recovery, header->first_index);
    }
    if (header->kind == LOG_BATCH_TRUNCATE) {
        log->position.next_index++; /* There was something that it cuts off. */
    }
    log->rot.damage.end_index = header->first_index;
}

/* Walks the damaged segment from `place` on, over any number of damaged places. */
static enum error walk_segment(struct recovery *recovery, struct log_place place, enum walk *walk)
{
    struct log *log = recovery->log;

    *walk = WALK_LOST;
    for (;;) {
        struct log_batch_header header;
        bool is_batch = false;
        enum error error = find_batch(recovery, &place, &header, &is_batch);

        if (error != ERR_OK || !is_batch) {
            return error;
        }
        take_up(recovery, place, &header);
        while (error == ERR_OK && is_batch && !recovery->has_ended) {
            error = recovery_scan_batch(recovery, &is_batch);
        }
        if (error == ERR_OK) {
            *walk = recovery->has_ended ? WALK_SEGMENT_ENDED : WALK_LOG_ENDED;
            return ERR_OK;
        }
        if (error != ERR_CORRUPT) {
            return error;
        }
        if (log->rot.damage_is_void) {
            /* What was damaged so far is of no account: the loss begins here. */
            log->rot.damage.first_index = log->position.next_index;
            log->rot.damage_is_void = false;
            log->rot.front_is_lost = log_spans_first_index(&log->spans) == log->spans.next_index;
        }
        place = log->position.place;
        place.offset += LOG_BLOCK_SIZE;
    }
}

/* What the segment behind the damaged one says that it continues. */
static enum error read_link(struct recovery *recovery, bool *is_known)
{
    struct log_rot *rot = &recovery->log->rot;
    struct log_place place = {.segment = rot->segment + 1};
    struct log_segment_header header;
    const uint8_t *block = NULL;

    *is_known = false;
    if (place.segment > recovery->segment_last) {
        return ERR_OK;
    }
    enum error error = recovery_read(recovery, place, LOG_BLOCK_SIZE, &block);
    if (error != ERR_OK) {
        return error == ERR_IO ? error : ERR_OK;
    }
    *is_known = log_segment_decode(block, place.segment, &header) == ERR_OK &&
                log_identity_equal(&header.identity, &recovery->log->identity) &&
                header.next_index != 0 &&
                header.first_batch_sequence > recovery->log->position.next_sequence;
    if (*is_known) {
        rot->link_sequence = header.first_batch_sequence;
        rot->link_checksum = header.previous_checksum;
        rot->link_index = header.next_index;
    }
    return ERR_OK;
}

/* Reads what is behind the damaged segment, up to the next damage. */
static enum error walk_later_segments(struct recovery *recovery, bool *reached_end)
{
    enum error error = ERR_OK;
    bool is_begun = true;
    uint64_t segment = recovery->log->rot.segment + 1;

    ASSERT(recovery->has_ended);
    while (error == ERR_OK && is_begun && segment <= recovery->segment_last) {
        error = recovery_scan_segment(recovery, segment, &is_begun);
        segment += is_begun;
    }
    if (error == ERR_OK) {
        error = recovery_scan_ahead(recovery, segment);
    }
    *reached_end = error == ERR_OK && (!recovery->has_ended || segment <= recovery->segment_last);
    return error == ERR_CORRUPT || error == ERR_MISSING ? ERR_OK : error;
}

/* The walk through the damaged segment has ended: joins what is behind it. */
static enum error join_later_segments(struct recovery *recovery, enum walk walk, bool *reached_end)
{
    struct log *log = recovery->log;
    struct log_rot *rot = &log->rot;
    bool is_known = false;

    *reached_end = false;
    if (walk == WALK_SEGMENT_ENDED) {
        rot->has_link = true;
        rot->link_sequence = log->position.next_sequence;
        rot->link_checksum = log->position.checksum;
        rot->link_index = log->position.next_index;
        return walk_later_segments(recovery, reached_end);
    }
    if (walk == WALK_LOG_ENDED) {
        enum error error = recovery_scan_ahead(recovery, rot->segment + 1);

        *reached_end = error == ERR_OK;
        rot->damage.end_index = error == ERR_OK ? rot->damage.end_index : 0;
        return error == ERR_CORRUPT || error == ERR_MISSING ? ERR_OK : error;
    }
    enum error error = read_link(recovery, &is_known);
    if (error != ERR_OK || !is_known) {
        rot->damage.end_index = 0;
        return error;
    }
    if (rot->damage.end_index == 0 || rot->link_index != log->position.next_index) {
        rot->damage.end_index = rot->link_index;
    }
    rot->has_link = true;
    recovery_go_to(recovery, rot->link_index);
    log->position.next_sequence = rot->link_sequence;
    log->position.checksum = rot->link_checksum;
    recovery->has_ended = true;
    return walk_later_segments(recovery, reached_end);
}

/* Where the damage begins, and what the segment held before it. */
static struct log_place begin_survey(struct recovery *recovery)
{
    struct log *log = recovery->log;
    struct log_rot *rot = &log->rot;
    const struct log_spans *spans = &log->spans;
    struct log_place place = log->position.place;

    if (recovery->has_ended || !log->position.is_begun) {
        /* The whole segment is in doubt, its header first. */
        if (recovery->has_ended) {
            recovery->start = log->position;
            recovery->start_state = recovery->hard_state;
            recovery->start_base = recovery->report->base_index;
            place.segment++;
        }
        place.offset = LOG_BLOCK_SIZE;
    } else if (place.offset < log->segment_size) {
        place.offset += LOG_BLOCK_SIZE;
    }
    *rot = (struct log_rot){
        .is_present = true,
        .damage = {.first_index = log->position.next_index},
        .segment = place.segment,
        .segment_last =
            place.segment > recovery->segment_last ? place.segment : recovery->segment_last,
        .start = recovery->start,
        .start_state = recovery->start_state,
        .own_first = log->position.next_index,
        .has_base = recovery->report->base_index != recovery->start_base,
        .front_is_lost = log_spans_first_index(spans) == spans->next_index,
    };
    recovery->is_behind = true;
    recovery->has_ended = false;
    return place;
}

/* The live records of the damaged segment are those from its first span up to the first of a later
 * segment. What came between them and was cut off again is not in the copy. */
static void find_own_records(struct recovery *recovery, log_index base_index)
{
    struct log_rot *rot = &recovery->log->rot;
    const struct log_spans *spans = &recovery->log->spans;

    ASSERT(rot->is_present);
    for (uint32_t i = 0; i < spans->count; i++) {
        if (spans->spans[i].place.segment == rot->segment) {
            rot->own_first = spans->spans[i].first_index < rot->own_first
                                 ? spans->spans[i].first_index
                                 : rot->own_first;
            break;
        }
    }
    rot->own_end = spans->next_index;
    for (uint32_t i = spans->count; i > 0 && spans->spans[i - 1].place.segment > rot->segment;
         i--) {
        rot->own_end = spans->spans[i - 1].first_index;
    }
    if (rot->damage_is_void) {
        log_index base = recovery->report->base_index;

        rot->damage = (struct log_damage){.first_index = base, .end_index = base};
    }
    if (recovery->report->base_index != base_index) {
        rot->has_base = spans->count != 0 && spans->spans[0].place.segment == rot->segment;
        rot->own_first = recovery->report->base_index;
    }
    if (rot->damage.end_index != 0 && rot->damage.end_index < rot->damage.first_index) {
        rot->damage.first_index = rot->damage.end_index;
    }
    rot->own_first =
        rot->own_first < rot->damage.first_index ? rot->own_first : rot->damage.first_index;
}

enum error recovery_survey(struct recovery *recovery)
{
    struct log_recovery *report = recovery->report;
    struct log_rot *rot = &recovery->log->rot;
    struct log_recovery before = *report;
    enum walk walk = WALK_LOST;
    bool reached_end = false;

    ASSERT(report->verdict == LOG_ROTTEN);
    struct log_place place = begin_survey(recovery);
    enum error error = walk_segment(recovery, place, &walk);

    if (error == ERR_OK) {
        error = join_later_segments(recovery, walk, &reached_end);
    }
    if (error != ERR_OK) {
        return error;
    }
    find_own_records(recovery, before.base_index);
    rot->sequence_min = recovery->log->position.next_sequence;
    if (reached_end && recovery_choose_state(recovery) == ERR_OK) {
        before.state_is_certain = true;
    }
    if (recovery->choice.batch_sequence > rot->sequence_min) {
        rot->sequence_min = recovery->choice.batch_sequence;
    }
    before.base_index = report->base_index;
    before.batch_count = report->batch_count;
    before.damage = rot->damage;
    *report = before;
    return ERR_OK;
}
