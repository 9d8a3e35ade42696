/* tests/unit/client/core_revoked_test.c: client/core_revoked.c alone; core_revoked_law_test.c has
 * its law. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/core_internal.h"
#include "tests/support/client/world.h"

enum { TTL_MS = 3000 };

struct alone {
    struct world *world;
    struct core *core;
    struct core_session *session;
};

static struct alone alone_open(void)
{
    struct alone alone = {.world = world_open(11, 1, 16)};

    alone.core = &alone.world->core;
    alone.session = world_session(alone.world, TTL_MS);
    return alone;
}

static void notice(struct alone *alone, uint64_t number, uint64_t token)
{
    const struct wire_revoked revoked = {.session = alone->session->id,
                                         .name = bytes_of_text("lock"),
                                         .token = token,
                                         .number = number};

    revoked_noticed(alone->core, alone->session, &revoked);
}

/* An answer that tells of `count` records from `number` on, of tokens that are ten times that. */
static void renewal(struct alone *alone, uint64_t number, uint32_t count, uint64_t audit_next)
{
    uint8_t memory[512];
    struct buffer items = buffer_of(memory, sizeof(memory));
    struct wire_session_renew_result result = {.audit_next = audit_next};

    for (uint32_t i = 0; i < count; i++) {
        const struct wire_revocation item = {
            .number = number + i, .name = bytes_of_text("lock"), .token = 10 * (number + i)};
        bool fits = wire_revocation_encode(&item, &items);

        assert_true(fits);
    }
    result.revoked = (struct wire_items){.raw = buffer_bytes(&items), .count = count};
    revoked_renewed(alone->core, alone->session, &result);
}

static void assert_told(struct alone *alone, uint64_t token)
{
    const struct core_revoked *revoked = core_next_revoked(alone->core);

    assert_non_null(revoked);
    assert_ptr_equal(revoked->session, alone->session);
    assert_int_equal(revoked->token, token);
    assert_true(bytes_equal(bytes_of(revoked->name, revoked->name_size), bytes_of_text("lock")));
}

static void a_forced_unlock_is_told_and_leaves_the_session_alone(void **state)
{
    struct alone alone = alone_open();

    (void)state;
    notice(&alone, 1, 7);

    assert_told(&alone, 7);
    assert_null(core_next_revoked(alone.core));
    assert_int_equal(alone.session->state, CORE_SESSION_CONNECTED);
    world_close(alone.world);
}

static void what_a_notice_told_is_not_told_again_by_a_renewal(void **state)
{
    struct alone alone = alone_open();

    (void)state;
    alone.session->audit_next = 5;
    notice(&alone, 6, 60);
    assert_told(&alone, 60);
    renewal(&alone, 5, 2, 7);

    assert_told(&alone, 50);
    assert_null(core_next_revoked(alone.core));
    world_close(alone.world);
}

static void what_a_renewal_told_is_not_told_again_by_anything_late(void **state)
{
    struct alone alone = alone_open();

    (void)state;
    alone.session->audit_next = 5;
    renewal(&alone, 5, 1, 6);
    assert_told(&alone, 50);
    notice(&alone, 5, 50);
    renewal(&alone, 5, 1, 6);

    assert_null(core_next_revoked(alone.core));
    world_close(alone.world);
}

static void notices_that_cannot_be_remembered_are_left_to_a_renewal(void **state)
{
    struct alone alone = alone_open();

    (void)state;
    alone.session->audit_next = 1;
    for (uint64_t number = 1; number <= CORE_TOLD_COUNT; number++) {
        notice(&alone, number, 10 * number);
        assert_told(&alone, 10 * number);
    }
    notice(&alone, CORE_TOLD_COUNT + 1, 10 * (CORE_TOLD_COUNT + 1));
    assert_null(core_next_revoked(alone.core));
    assert_int_equal(alone.session->renew_ms, alone.core->now_ms);

    renewal(&alone, 1, CORE_TOLD_COUNT + 1, CORE_TOLD_COUNT + 2);
    assert_told(&alone, 10 * (CORE_TOLD_COUNT + 1));
    assert_null(core_next_revoked(alone.core));
    world_close(alone.world);
}

/* They come by different connections. */
static void a_forced_unlock_that_came_before_its_grant_is_told_behind_it(void **state)
{
    struct alone alone = alone_open();
    struct world_call *call = world_acquire(alone.world, alone.session, "lock", 0);
    uint64_t token = alone.world->model.tokens + 1;

    (void)state;
    notice(&alone, 1, token);
    assert_told(&alone, token);
    world_wait(alone.world, call, 100);

    assert_int_equal(call->token, token);
    assert_told(&alone, token);
    assert_null(core_next_revoked(alone.core));
    world_close(alone.world);
}

static void a_renewal_with_more_is_followed_by_the_next_at_once(void **state)
{
    struct alone alone = alone_open();
    struct wire_session_renew_result result = {.audit_next = 9, .more = true};

    (void)state;
    revoked_renewed(alone.core, alone.session, &result);

    assert_int_equal(alone.session->audit_next, 9);
    assert_int_equal(alone.session->renew_ms, alone.core->now_ms);
    world_close(alone.world);
}

static void a_session_that_missed_records_is_lost(void **state)
{
    struct alone alone = alone_open();
    struct wire_session_renew_result result = {.audit_next = 2000, .missed = true};

    (void)state;
    revoked_renewed(alone.core, alone.session, &result);

    assert_int_equal(alone.session->state, CORE_SESSION_LOST);
    world_close(alone.world);
}

static void forced_unlocks_that_nobody_takes_end_their_session(void **state)
{
    struct alone alone = alone_open();

    (void)state;
    for (uint32_t i = 0; i < CORE_REVOKED_COUNT_MAX; i++) {
        notice(&alone, 0, 1000 + i);
    }
    assert_int_equal(alone.session->state, CORE_SESSION_CONNECTED);
    notice(&alone, 0, 999);

    assert_int_equal(alone.session->state, CORE_SESSION_LOST);
    /* Of a session that is lost there is nothing more to tell. */
    assert_null(core_next_revoked(alone.core));
    world_close(alone.world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forced_unlock_is_told_and_leaves_the_session_alone),
        cmocka_unit_test(what_a_notice_told_is_not_told_again_by_a_renewal),
        cmocka_unit_test(what_a_renewal_told_is_not_told_again_by_anything_late),
        cmocka_unit_test(notices_that_cannot_be_remembered_are_left_to_a_renewal),
        cmocka_unit_test(a_forced_unlock_that_came_before_its_grant_is_told_behind_it),
        cmocka_unit_test(a_renewal_with_more_is_followed_by_the_next_at_once),
        cmocka_unit_test(a_session_that_missed_records_is_lost),
        cmocka_unit_test(forced_unlocks_that_nobody_takes_end_their_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
