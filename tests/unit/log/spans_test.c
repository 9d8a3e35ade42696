/* tests/unit/log/spans_test.c: the sparse index against a full one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/prng.h"
#include "log/spans.h"

enum { SEGMENT_SIZE = 2 << 20, SEGMENT_COUNT = 4, INDEX_MAX = 20000 };

/* Every live record's place, one by one. */
struct model {
    struct log_place places[INDEX_MAX + 1];
    log_index next_index;
};

struct fixture {
    struct log_spans spans;
    struct model model;
    void *memory;
};

static int open_spans(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    uint32_t count_max = log_spans_count_max(SEGMENT_SIZE, SEGMENT_COUNT);
    size_t size = arena_cost(count_max, sizeof(struct log_span));
    struct arena arena;

    assert_non_null(fixture);
    fixture->memory = aligned_alloc(ARENA_ALIGNMENT, size_round_up(size, ARENA_ALIGNMENT));
    assert_non_null(fixture->memory);
    arena_init(&arena, fixture->memory, size);
    log_spans_init(&fixture->spans, &arena, count_max);
    fixture->model.next_index = 1;
    *state = fixture;
    return 0;
}

static int close_spans(void **state)
{
    struct fixture *fixture = *state;

    free(fixture->memory);
    free(fixture);
    return 0;
}

static void add(struct fixture *fixture, struct log_place place, uint32_t size, uint32_t count)
{
    log_index next_index = fixture->model.next_index + count;

    for (log_index index = fixture->model.next_index; index < next_index; index++) {
        fixture->model.places[index] = place;
    }
    fixture->model.next_index = next_index;
    log_spans_add(&fixture->spans, place, size, next_index);
}

static void cut(struct fixture *fixture, log_index index)
{
    log_spans_cut(&fixture->spans, index);
    if (index < fixture->model.next_index) {
        fixture->model.next_index = index;
    }
}

static void expect_agreement(const struct fixture *fixture)
{
    log_spans_check(&fixture->spans);
    assert_int_equal(fixture->spans.next_index, fixture->model.next_index);
    for (log_index index = 1; index < fixture->model.next_index; index++) {
        struct log_place place = fixture->model.places[index];
        log_index end_index = 0;
        const struct log_span *span = log_spans_find(&fixture->spans, index, &end_index);

        assert_int_equal(span->place.segment, place.segment);
        assert_true(span->place.offset <= place.offset);
        assert_true(place.offset < span->place.offset + span->size);
        assert_true(end_index > index && end_index <= fixture->model.next_index);
    }
}

static void neighbouring_batches_share_a_span(void **state)
{
    struct fixture *fixture = *state;

    for (uint32_t i = 0; i < LOG_SPAN_SIZE / 4096; i++) {
        add(fixture, (struct log_place){.segment = 1, .offset = 4096 * (i + 1)}, 4096, 2);
    }
    assert_int_equal(fixture->spans.count, 1);
    add(fixture, (struct log_place){.segment = 1, .offset = LOG_SPAN_SIZE + 4096}, 4096, 2);
    assert_int_equal(fixture->spans.count, 2);
    expect_agreement(fixture);
}

static void another_segment_begins_a_span(void **state)
{
    struct fixture *fixture = *state;

    add(fixture, (struct log_place){.segment = 1, .offset = 4096}, 4096, 2);
    add(fixture, (struct log_place){.segment = 2, .offset = 4096}, 4096, 2);

    assert_int_equal(fixture->spans.count, 2);
    expect_agreement(fixture);
}

static void emptied_span_is_never_found(void **state)
{
    struct fixture *fixture = *state;
    log_index end_index = 0;

    add(fixture, (struct log_place){.segment = 1, .offset = 4096}, 4096, 10);
    add(fixture, (struct log_place){.segment = 2, .offset = 4096}, 4096, 10);
    cut(fixture, 5);
    add(fixture, (struct log_place){.segment = 3, .offset = 4096}, 4096, 10);

    assert_int_equal(log_spans_find(&fixture->spans, 5, &end_index)->place.segment, 3);
    assert_int_equal(end_index, 15);
    assert_int_equal(log_spans_find(&fixture->spans, 4, &end_index)->place.segment, 1);
    assert_int_equal(end_index, 5);
    expect_agreement(fixture);
}

static void random_batches_and_cuts_agree_with_the_model_within_the_bound(void **state)
{
    struct prng prng;
    (void)state;

    for (uint64_t seed = 1; seed <= 40; seed++) {
        void *opened = NULL;
        struct fixture *fixture;

        (void)open_spans(&opened);
        fixture = opened;
        prng_init(&prng, seed);
        for (uint64_t segment = 1; segment <= SEGMENT_COUNT; segment++) {
            uint32_t offset = 4096;

            while (offset < SEGMENT_SIZE - 300 * 1024) {
                uint32_t size = 4096 * (uint32_t)prng_between(&prng, 1, seed % 2 == 0 ? 70 : 5);

                if (prng_below(&prng, 5) == 0) {
                    cut(fixture, prng_between(&prng, 1, fixture->model.next_index));
                }
                add(fixture, (struct log_place){.segment = segment, .offset = offset}, size,
                    (uint32_t)prng_below(&prng, 6));
                offset += size;
            }
            expect_agreement(fixture);
        }
        (void)close_spans(&opened);
    }
}

int main(void)
{
#define LAW(law) cmocka_unit_test_setup_teardown(law, open_spans, close_spans)
    const struct CMUnitTest tests[] = {
        LAW(neighbouring_batches_share_a_span),
        LAW(another_segment_begins_a_span),
        LAW(emptied_span_is_never_found),
        cmocka_unit_test(random_batches_and_cuts_agree_with_the_model_within_the_bound),
    };
#undef LAW
    return cmocka_run_group_tests(tests, NULL, NULL);
}
