/* tests/unit/client/fence_test.c: no old token is accepted, whatever happens to the file. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/holdfast_fence.h"

enum { BLOCK_SIZE = 24, BLOCK_DISTANCE = 4096, FILE_SIZE = BLOCK_DISTANCE + BLOCK_SIZE };

struct fixture {
    char folder[64];
    char path[80];
};

static void fixture_open(struct fixture *fixture)
{
    /* In memory where that can be: syncing is not what is looked at here. */
    (void)snprintf(fixture->folder, sizeof fixture->folder, "%s/fence.XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(fixture->folder));
    (void)snprintf(fixture->path, sizeof fixture->path, "%s/fence", fixture->folder);
}

static void fixture_close(struct fixture *fixture)
{
    assert_int_equal(unlink(fixture->path), 0);
    assert_int_equal(rmdir(fixture->folder), 0);
}

static struct holdfast_fence_file *open_fence(const struct fixture *fixture)
{
    const char *why = NULL;
    struct holdfast_fence_file *fence = holdfast_fence_open(fixture->path, &why);

    assert_null(why);
    assert_non_null(fence);
    return fence;
}

static void read_file(const struct fixture *fixture, uint8_t bytes[FILE_SIZE])
{
    int file = open(fixture->path, O_RDONLY);

    assert_int_equal(pread(file, bytes, FILE_SIZE, 0), FILE_SIZE);
    (void)close(file);
}

static void write_file(const struct fixture *fixture, const uint8_t *bytes, size_t size)
{
    int file = open(fixture->path, O_RDWR | O_TRUNC | O_CREAT, 0600);

    assert_int_equal(pwrite(file, bytes, size, 0), size);
    (void)close(file);
}

/* A file in which `token` was accepted last. */
static void make_file(const struct fixture *fixture, uint64_t token, uint8_t bytes[FILE_SIZE])
{
    (void)unlink(fixture->path);
    struct holdfast_fence_file *fence = open_fence(fixture);

    assert_int_equal(holdfast_fence_file_accept(fence, token), HOLDFAST_FENCE_ACCEPTED);
    holdfast_fence_close(fence);
    read_file(fixture, bytes);
}

static uint64_t greatest_of(const struct fixture *fixture, const uint8_t bytes[FILE_SIZE])
{
    write_file(fixture, bytes, FILE_SIZE);
    struct holdfast_fence_file *fence = open_fence(fixture);
    uint64_t greatest = holdfast_fence_file_greatest(fence);
    holdfast_fence_close(fence);

    /* What was found is what the next one finds, with either block gone. */
    uint8_t healed[FILE_SIZE];
    read_file(fixture, healed);
    assert_memory_equal(healed, healed + BLOCK_DISTANCE, BLOCK_SIZE);
    return greatest;
}

static void a_token_is_accepted_unless_a_greater_one_was(void **state)
{
    struct holdfast_fence fence = {0};
    uint64_t greatest = 0;

    (void)state;
    assert_false(holdfast_fence_accept(&fence, 0));
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t token = 1 + i * 7919 % 997;
        assert_int_equal(holdfast_fence_accept(&fence, token), token >= greatest);
        greatest = token > greatest ? token : greatest;
        assert_int_equal(fence.greatest, greatest);
    }
    assert_true(holdfast_fence_accept(&fence, UINT64_MAX));
    assert_true(holdfast_fence_accept(&fence, UINT64_MAX));
    assert_false(holdfast_fence_accept(&fence, UINT64_MAX - 1));
}

static void a_file_remembers_over_its_closing(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_open(&fixture);
    struct holdfast_fence_file *fence = open_fence(&fixture);
    assert_int_equal(holdfast_fence_file_accept(fence, 0), HOLDFAST_FENCE_STALE);
    assert_int_equal(holdfast_fence_file_accept(fence, 7), HOLDFAST_FENCE_ACCEPTED);
    assert_int_equal(holdfast_fence_file_accept(fence, 7), HOLDFAST_FENCE_ACCEPTED);
    assert_int_equal(holdfast_fence_file_accept(fence, 6), HOLDFAST_FENCE_STALE);
    holdfast_fence_close(fence);

    fence = open_fence(&fixture);
    assert_int_equal(holdfast_fence_file_greatest(fence), 7);
    assert_int_equal(holdfast_fence_file_accept(fence, 6), HOLDFAST_FENCE_STALE);
    assert_int_equal(holdfast_fence_file_accept(fence, 8), HOLDFAST_FENCE_ACCEPTED);
    holdfast_fence_close(fence);
    fixture_close(&fixture);
}

/* Of a write that a crash cut short any bytes may have reached the disk: here every number of them
 * from either end, in either block. */
static void a_crash_at_any_byte_brings_no_old_token_back(void **state)
{
    struct fixture fixture;
    uint8_t old[FILE_SIZE];
    uint8_t new[FILE_SIZE];

    (void)state;
    fixture_open(&fixture);
    make_file(&fixture, 41, old);
    make_file(&fixture, 42, new);
    for (size_t block = 0; block < 2; block++) {
        for (size_t size = 0; size <= BLOCK_SIZE; size++) {
            for (size_t from_end = 0; from_end < 2; from_end++) {
                uint8_t torn[FILE_SIZE];
                size_t at = block * BLOCK_DISTANCE;
                size_t begin = at + (from_end == 1 ? BLOCK_SIZE - size : 0);
                memcpy(torn, old, FILE_SIZE);
                memcpy(torn, new, at); /* The first is durable before the second is written. */
                memcpy(torn + begin, new + begin, size);
                uint64_t greatest = greatest_of(&fixture, torn);
                assert_true(greatest == 42 || (greatest == 41 && block == 0));
            }
        }
    }
    fixture_close(&fixture);
}

static void one_block_may_rot_in_any_bit(void **state)
{
    struct fixture fixture;
    uint8_t bytes[FILE_SIZE];

    (void)state;
    fixture_open(&fixture);
    make_file(&fixture, 42, bytes);
    for (size_t bit = 0; bit < (size_t)2 * BLOCK_SIZE * 8; bit++) {
        size_t at = bit / 8 < BLOCK_SIZE ? bit / 8 : BLOCK_DISTANCE + bit / 8 - BLOCK_SIZE;
        uint8_t mask = (uint8_t)(1U << bit % 8);
        bytes[at] ^= mask;
        assert_int_equal(greatest_of(&fixture, bytes), 42);
        bytes[at] ^= mask;
    }
    fixture_close(&fixture);
}

static void what_is_no_fence_is_refused_with_the_reason(void **state)
{
    struct fixture fixture;
    uint8_t bytes[FILE_SIZE];
    const char *why = NULL;

    (void)state;
    fixture_open(&fixture);
    make_file(&fixture, 42, bytes);
    bytes[9] ^= 1;
    bytes[BLOCK_DISTANCE + 9] ^= 1;
    write_file(&fixture, bytes, FILE_SIZE);
    assert_null(holdfast_fence_open(fixture.path, &why));
    assert_non_null(strstr(why, "damaged"));
    write_file(&fixture, (const uint8_t *)"a letter", 8);
    assert_null(holdfast_fence_open(fixture.path, &why));
    assert_non_null(strstr(why, "damaged"));
    assert_null(holdfast_fence_open("/nowhere/at/all", &why));
    assert_non_null(strstr(why, "cannot be opened"));
    fixture_close(&fixture);
}

static void a_creation_that_was_cut_short_is_begun_again(void **state)
{
    struct fixture fixture;
    uint8_t bytes[FILE_SIZE];
    const uint8_t zeros[FILE_SIZE] = {0};

    (void)state;
    fixture_open(&fixture);
    holdfast_fence_close(open_fence(&fixture));
    read_file(&fixture, bytes);
    for (size_t size = BLOCK_SIZE; size <= FILE_SIZE; size += size < BLOCK_DISTANCE ? 509 : 1) {
        write_file(&fixture, bytes, size);
        struct holdfast_fence_file *fence = open_fence(&fixture);
        assert_int_equal(holdfast_fence_file_greatest(fence), 0);
        holdfast_fence_close(fence);
    }
    write_file(&fixture, zeros, sizeof zeros);
    holdfast_fence_close(open_fence(&fixture));
    write_file(&fixture, zeros, 0);
    holdfast_fence_close(open_fence(&fixture));
    fixture_close(&fixture);
}

static void a_file_is_one_processes_at_a_time(void **state)
{
    struct fixture fixture;
    const char *why = NULL;

    (void)state;
    fixture_open(&fixture);
    struct holdfast_fence_file *fence = open_fence(&fixture);
    assert_null(holdfast_fence_open(fixture.path, &why));
    assert_non_null(strstr(why, "in use"));
    holdfast_fence_close(fence);
    holdfast_fence_close(open_fence(&fixture));
    fixture_close(&fixture);
}

static void what_cannot_be_written_is_not_accepted_nor_anything_behind_it(void **state)
{
    struct fixture fixture;
    struct rlimit before;

    (void)state;
    fixture_open(&fixture);
    struct holdfast_fence_file *fence = open_fence(&fixture);
    assert_int_equal(holdfast_fence_file_accept(fence, 5), HOLDFAST_FENCE_ACCEPTED);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    enum holdfast_fence_verdict same = holdfast_fence_file_accept(fence, 5);
    enum holdfast_fence_verdict higher = holdfast_fence_file_accept(fence, 6);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_DFL);

    assert_int_equal(same, HOLDFAST_FENCE_ACCEPTED); /* Nothing had to be written. */
    assert_int_equal(higher, HOLDFAST_FENCE_BROKEN);
    assert_int_equal(holdfast_fence_file_accept(fence, 7), HOLDFAST_FENCE_BROKEN);
    assert_int_equal(holdfast_fence_file_accept(fence, 5), HOLDFAST_FENCE_BROKEN);
    holdfast_fence_close(fence);
    fence = open_fence(&fixture);
    assert_int_equal(holdfast_fence_file_greatest(fence), 5);
    holdfast_fence_close(fence);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_accepted_unless_a_greater_one_was),
        cmocka_unit_test(a_file_remembers_over_its_closing),
        cmocka_unit_test(a_crash_at_any_byte_brings_no_old_token_back),
        cmocka_unit_test(one_block_may_rot_in_any_bit),
        cmocka_unit_test(what_is_no_fence_is_refused_with_the_reason),
        cmocka_unit_test(a_creation_that_was_cut_short_is_begun_again),
        cmocka_unit_test(a_file_is_one_processes_at_a_time),
        cmocka_unit_test(what_cannot_be_written_is_not_accepted_nor_anything_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
