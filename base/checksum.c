/* base/checksum.c: the only file that knows which hash it is. */
#include "base/checksum.h"

#include <xxhash.h>

uint64_t checksum(struct bytes bytes, uint64_t seed)
{
    ASSERT(bytes.data != NULL || bytes.size == 0);

    return XXH3_64bits_withSeed(bytes.data, bytes.size, seed);
}

/* The first checksum seeds the second: order, contents and the place of the cut all count. */
uint64_t checksum_pair(struct bytes first, struct bytes second, uint64_t seed)
{
    return checksum(second, checksum(first, seed));
}
