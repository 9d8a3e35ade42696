#include "tests/support/wire/edge.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

struct edge edge_open(size_t size_max)
{
    size_t size = size_round_up(size_max, page_size()) + page_size();
    void *pages = aligned_alloc(page_size(), size);

    ASSERT(pages != NULL);
    int verdict = mprotect((uint8_t *)pages + size - page_size(), page_size(), PROT_NONE);
    ASSERT(verdict == 0);
    return (struct edge){.pages = pages, .size = size};
}

void edge_close(struct edge *edge)
{
    uint8_t *last = edge->pages + edge->size - page_size();
    int verdict = mprotect(last, page_size(), PROT_READ | PROT_WRITE);

    ASSERT(verdict == 0);
    free(edge->pages);
    *edge = (struct edge){0};
}

struct bytes edge_place(const struct edge *edge, struct bytes bytes)
{
    size_t room = edge->size - page_size();
    ASSERT_VALUES(bytes.size <= room, bytes.size, room);
    uint8_t *at = edge->pages + room - bytes.size;

    if (bytes.size != 0) {
        memcpy(at, bytes.data, bytes.size);
    }
    return bytes_of(at, bytes.size);
}
