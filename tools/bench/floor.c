/* tools/bench/floor.c: what the disk and the loopback can do at best, for ratios.
 *
 * usage: floor FOLDER SECONDS
 *
 * Three writers, each with a file of its own, append 4 KiB blocks over written zeros with
 * O_DIRECT|O_DSYNC (or write and fdatasync where the file system refuses that), as three nodes on
 * one disk do. Then one TCP ping-pong of 64 bytes over loopback. Prints two JSON lines. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/histogram.h"

enum { WRITER_COUNT = 3, BLOCK_SIZE = 4096, FILE_SIZE = 64 << 20, PING_SIZE = 64 };

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* `lanes` ran at the same time: together they did count / (sum / lanes). */
static void report(const char *what, const struct histogram *histogram, unsigned lanes)
{
    printf("{\"floor\":\"%s\",\"ops_per_s\":%.0f,\"p50_us\":%" PRIu64 ",\"p99_us\":%" PRIu64 "}\n",
           what, (double)histogram->count * lanes * 1e6 / (double)histogram->sum,
           histogram_percentile(histogram, 500), histogram_percentile(histogram, 990));
    fflush(stdout);
}

static void write_blocks(const char *folder, unsigned number, uint64_t end_us,
                         struct histogram *histogram)
{
    char path[4096];
    void *block;
    bool direct = true;

    snprintf(path, sizeof(path), "%s/floor-%u", folder, number);
    if (posix_memalign(&block, BLOCK_SIZE, 1 << 20) != 0) {
        die("memory");
    }
    memset(block, 0, 1 << 20);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file < 0) {
        die(path);
    }
    for (off_t at = 0; at < FILE_SIZE; at += 1 << 20) {
        if (pwrite(file, block, 1 << 20, at) != 1 << 20) {
            die(path);
        }
    }
    if (fsync(file) != 0) {
        die(path);
    }
    int sync_file = open(path, O_RDWR | O_DIRECT | O_DSYNC);
    if (sync_file < 0) {
        direct = false;
        sync_file = file;
    }
    memset(block, 0x5a, BLOCK_SIZE);
    uint64_t before;
    for (off_t at = 0; (before = now_us()) < end_us; at = (at + BLOCK_SIZE) % FILE_SIZE) {
        if (pwrite(sync_file, block, BLOCK_SIZE, at) != BLOCK_SIZE ||
            (!direct && fdatasync(sync_file) != 0)) {
            die(path);
        }
        histogram_add(histogram, now_us() - before);
    }
    unlink(path);
}

static void measure_disk(const char *folder, double seconds)
{
    size_t size = sizeof(struct histogram) * WRITER_COUNT;
    struct histogram *shared =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct histogram all;

    if (shared == MAP_FAILED) {
        die("memory");
    }
    /* Filling the files takes its time: all begin to measure when all are filled. */
    uint64_t end_us = now_us() + 2000000 + (uint64_t)(seconds * 1e6);
    for (unsigned i = 0; i < WRITER_COUNT; i++) {
        histogram_init(&shared[i]);
        if (fork() == 0) {
            write_blocks(folder, i, end_us, &shared[i]);
            _exit(0);
        }
    }
    int status;
    bool failed = false;
    while (wait(&status) > 0) {
        failed = failed || status != 0;
    }
    if (failed) {
        exit(1);
    }
    histogram_init(&all);
    for (unsigned i = 0; i < WRITER_COUNT; i++) {
        histogram_merge(&all, &shared[i]);
    }
    report("4 KiB durable append, 3 writers", &all, WRITER_COUNT);
}

static void echo(int listener)
{
    char bytes[PING_SIZE];
    int one = 1, peer = accept(listener, NULL, NULL);

    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    while (recv(peer, bytes, PING_SIZE, MSG_WAITALL) == PING_SIZE &&
           send(peer, bytes, PING_SIZE, 0) == PING_SIZE) {
    }
    _exit(0);
}

static void measure_loopback(double seconds)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    char bytes[PING_SIZE] = {0};
    struct histogram histogram;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        die("loopback");
    }
    if (fork() == 0) {
        echo(listener);
    }
    int peer = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(peer, (struct sockaddr *)&address, size) != 0) {
        die("loopback");
    }
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    histogram_init(&histogram);
    uint64_t before, end_us = now_us() + (uint64_t)(seconds * 1e6);
    while ((before = now_us()) < end_us) {
        if (send(peer, bytes, PING_SIZE, 0) != PING_SIZE ||
            recv(peer, bytes, PING_SIZE, MSG_WAITALL) != PING_SIZE) {
            die("loopback");
        }
        histogram_add(&histogram, now_us() - before);
    }
    close(peer);
    wait(NULL);
    report("64 byte round trip over loopback", &histogram, 1);
}

int main(int argc, char **argv)
{
    if (argc != 3 || strtod(argv[2], NULL) <= 0) {
        fprintf(stderr, "usage: floor FOLDER SECONDS\n");
        return 64;
    }
    measure_disk(argv[1], strtod(argv[2], NULL));
    measure_loopback(strtod(argv[2], NULL));
    return 0;
}
