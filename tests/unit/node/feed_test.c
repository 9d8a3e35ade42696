/* tests/unit/node/feed_test.c: the feed against a list that forgets nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "base/prng.h"
#include "node/feed.h"

enum {
    SEED_COUNT = 2000,
    STEP_COUNT = 400,
    CHANGE_COUNT_MAX = STEP_COUNT * 8,
    NAME_SIZE_MAX = 24,
    VALUE_SIZE_MAX = 400 << 10,
};

/* What happened, in full. */
struct happened {
    struct feed_place place;
    enum feed_kind kind;
    uint64_t token;
    size_t name_size;
    size_t value_size;
    uint8_t fill;
};

struct fixture {
    void *memory;
    struct feed *feed;
    struct prng prng;
    uint64_t revision;
    uint64_t start; /* Of the state: nothing before it is known. */
    uint32_t count;
    struct happened all[CHANGE_COUNT_MAX];
    uint32_t dropped_count; /* Seen to have fallen off, */
    uint32_t refused_count; /* and places that were refused for it. */
    uint32_t full_count;    /* Looks at a feed that is full of changes. */
    uint8_t bytes[VALUE_SIZE_MAX];
};

static struct fixture *fixture_open(uint64_t seed)
{
    static struct fixture fixture;
    size_t size = feed_memory_size(FEED_SIZE_MIN, FEED_COUNT_MIN);
    struct arena arena;

    memset(&fixture, 0, offsetof(struct fixture, all));
    prng_init(&fixture.prng, seed);
    fixture.memory = aligned_alloc(ARENA_ALIGNMENT, size_round_up(size, ARENA_ALIGNMENT));
    assert_non_null(fixture.memory);
    arena_init(&arena, fixture.memory, size);
    fixture.start = prng_below(&fixture.prng, 5);
    fixture.revision = fixture.start;
    fixture.feed = feed_open(&arena, FEED_SIZE_MIN, FEED_COUNT_MIN, fixture.start);
    return &fixture;
}

static struct happened *note(struct fixture *fixture, enum feed_kind kind)
{
    struct happened *happened = &fixture->all[fixture->count];
    bool is_first = fixture->count == 0 || happened[-1].place.revision != fixture->revision;

    assert_true(fixture->count < CHANGE_COUNT_MAX);
    *happened = (struct happened){
        .place = {fixture->revision, is_first ? 1 : happened[-1].place.number + 1},
        .kind = kind,
        .name_size = (size_t)prng_between(&fixture->prng, 1, NAME_SIZE_MAX),
        .fill = (uint8_t)prng_next(&fixture->prng),
    };
    fixture->count++;
    return happened;
}

static void change_key(struct fixture *fixture, bool is_large)
{
    struct happened *happened =
        note(fixture, prng_below(&fixture->prng, 4) == 0 ? FEED_DELETE : FEED_PUT);

    if (happened->kind == FEED_PUT) {
        happened->value_size = (size_t)prng_below(&fixture->prng, is_large ? VALUE_SIZE_MAX : 100);
    }
    memset(fixture->bytes, happened->fill, happened->name_size + happened->value_size);
    struct bytes name = bytes_of(fixture->bytes, happened->name_size);

    if (happened->kind == FEED_PUT) {
        feed_put(fixture->feed, name, bytes_of(fixture->bytes, happened->value_size));
    } else {
        feed_delete(fixture->feed, name);
    }
}

static void change_lock(struct fixture *fixture)
{
    static const enum feed_kind kinds[] = {FEED_GRANTED, FEED_RELEASED, FEED_LOST, FEED_BROKEN};
    static struct lease_events events;
    uint32_t which = (uint32_t)prng_below(&fixture->prng, COUNT_OF(kinds));
    struct happened *happened = note(fixture, kinds[which]);

    events.count = 1;
    happened->token = prng_next(&fixture->prng);
    events.items[0] = (struct lease_event){.kind = (enum lease_event_kind)which,
                                           .session = 7,
                                           .token = happened->token,
                                           .name_size = (uint8_t)happened->name_size,
                                           .owner_size = 3,
                                           .metadata_size = 2};
    memset(events.items[0].text, happened->fill, happened->name_size + 5);
    feed_locks(fixture->feed, &events);
}

static bool is_filled(struct bytes bytes, uint8_t fill)
{
    for (size_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] != fill) {
            return false;
        }
    }
    return true;
}

static void assert_same(const struct fixture *fixture, uint64_t position,
                        const struct happened *expected)
{
    struct feed_change got = feed_at(fixture->feed, position);
    bool is_lock = feed_space_of(got.kind) == FEED_LOCKS;

    assert_int_equal(feed_place_compare(got.place, expected->place), 0);
    assert_int_equal(got.kind, expected->kind);
    assert_int_equal(got.token, expected->token);
    assert_int_equal(got.name.size, expected->name_size);
    assert_int_equal(got.value.size, expected->value_size);
    assert_int_equal(got.owner.size, is_lock ? 3 : 0);
    assert_int_equal(got.metadata.size, is_lock ? 2 : 0);
    assert_true(is_filled(got.name, expected->fill) && is_filled(got.value, expected->fill) &&
                is_filled(got.owner, expected->fill) && is_filled(got.metadata, expected->fill));
}

/* The newest changes are there, as they happened, and nothing else. */
static void compare(struct fixture *fixture)
{
    uint64_t kept = feed_end(fixture->feed) - feed_first(fixture->feed);

    assert_true(kept <= fixture->count && kept <= FEED_COUNT_MIN);
    for (uint64_t i = 0; i < kept; i++) {
        assert_same(fixture, feed_first(fixture->feed) + i,
                    &fixture->all[fixture->count - kept + i]);
    }
    fixture->dropped_count += kept < fixture->count ? 1 : 0;
    fixture->full_count += kept == FEED_COUNT_MIN ? 1 : 0;
    feed_check(fixture->feed);
}

/* From any place either all that happened behind it follows, or the place is refused. */
static void ask(struct fixture *fixture)
{
    uint64_t kept = feed_end(fixture->feed) - feed_first(fixture->feed);
    uint64_t low = fixture->start == 0 ? 0 : fixture->start - 1;
    struct feed_place place = {prng_between(&fixture->prng, low, fixture->revision + 2),
                               (uint32_t)prng_below(&fixture->prng, 4)};
    uint32_t behind = 0;
    uint64_t position = 0;

    place.number = place.number == 0 ? FEED_ALL : place.number;
    for (uint32_t i = 0; i < fixture->count; i++) {
        behind += feed_place_compare(fixture->all[i].place, place) > 0 ? 1 : 0;
    }
    bool is_known = behind <= kept && place.revision >= fixture->start &&
                    (place.revision > fixture->start || place.number == FEED_ALL);

    if (feed_find(fixture->feed, place, &position)) {
        assert_true(is_known);
        assert_int_equal(feed_end(fixture->feed) - position, behind);
    } else {
        /* It is refused when something behind it is gone, or may have been before the start. */
        assert_false(is_known && kept == fixture->count);
        assert_true(behind > kept || place.revision <= fixture->start);
        fixture->refused_count++;
    }
    /* The oldest whole revision is never refused. */
    place = (struct feed_place){feed_oldest(fixture->feed), FEED_ALL};
    assert_true(feed_find(fixture->feed, place, &position));
}

static void step(struct fixture *fixture, bool is_large)
{
    uint32_t changes = (uint32_t)prng_below(&fixture->prng, 5);

    if (prng_below(&fixture->prng, 500) == 0) {
        fixture->revision += prng_between(&fixture->prng, 0, 9);
        fixture->start = fixture->revision;
        fixture->count = 0;
        feed_reset(fixture->feed, fixture->revision);
        return;
    }
    fixture->revision++;
    feed_begin(fixture->feed, fixture->revision);
    for (uint32_t i = 0; i < changes; i++) {
        if (prng_below(&fixture->prng, 2) == 0) {
            change_key(fixture, is_large);
        } else {
            change_lock(fixture);
        }
    }
    ask(fixture);
}

static void the_newest_changes_are_kept_whole_and_in_order(void **state)
{
    uint32_t dropped_count = 0;
    uint32_t refused_count = 0;
    uint32_t full_count = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        struct fixture *fixture = fixture_open(seed);
        bool is_large = seed % 100 == 0;

        for (uint32_t i = 0; i < (is_large ? 40 : STEP_COUNT); i++) {
            step(fixture, is_large);
            if (i % 50 == 0 || is_large) {
                compare(fixture);
            }
        }
        compare(fixture);
        dropped_count += fixture->dropped_count;
        refused_count += fixture->refused_count;
        full_count += fixture->full_count;
        free(fixture->memory);
    }
    assert_true(dropped_count > 1000 && refused_count > 1000 && full_count > 1000);
}

/* A revision that has lost its first changes is no place for one that has seen none of it. */
static void a_revision_that_lost_a_part_is_good_only_behind_that_part(void **state)
{
    struct fixture *fixture = fixture_open(1);
    uint8_t name = 'a';
    uint64_t position = 0;

    (void)state;
    feed_begin(fixture->feed, 10);
    for (uint32_t i = 0; i < FEED_COUNT_MIN + 5; i++) {
        feed_delete(fixture->feed, bytes_of(&name, 1));
    }

    assert_false(feed_find(fixture->feed, (struct feed_place){9, FEED_ALL}, &position));
    assert_false(feed_find(fixture->feed, (struct feed_place){10, 4}, &position));
    assert_true(feed_find(fixture->feed, (struct feed_place){10, 5}, &position));
    assert_int_equal(feed_at(fixture->feed, position).place.number, 6);
    assert_int_equal(feed_oldest(fixture->feed), 10);
    free(fixture->memory);
}

static void a_feed_begins_where_the_state_is(void **state)
{
    struct fixture *fixture = fixture_open(2);
    uint8_t name = 'a';
    uint64_t position = 0;
    uint64_t epoch = feed_epoch(fixture->feed);

    (void)state;
    feed_begin(fixture->feed, 20);
    feed_delete(fixture->feed, bytes_of(&name, 1));
    feed_reset(fixture->feed, 30);

    assert_false(feed_find(fixture->feed, (struct feed_place){20, FEED_ALL}, &position));
    assert_false(feed_find(fixture->feed, (struct feed_place){30, 3}, &position));
    assert_true(feed_find(fixture->feed, (struct feed_place){30, FEED_ALL}, &position));
    assert_true(feed_find(fixture->feed, (struct feed_place){31, 2}, &position));
    assert_int_equal(position, feed_end(fixture->feed));
    assert_int_equal(feed_epoch(fixture->feed), epoch + 1);
    assert_int_equal(feed_oldest(fixture->feed), 30);
    free(fixture->memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_changes_are_kept_whole_and_in_order),
        cmocka_unit_test(a_revision_that_lost_a_part_is_good_only_behind_that_part),
        cmocka_unit_test(a_feed_begins_where_the_state_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
