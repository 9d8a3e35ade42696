/* base/checksum.h: the one checksum of the project, XXH3 with 64 bits.
 *
 * It finds accidents (rot, torn writes, damaged frames), not malice. The seed binds a checksum to
 * its place, so that the right bytes at the wrong place do not validate. */
#ifndef BASE_CHECKSUM_H
#define BASE_CHECKSUM_H

#include <stdint.h>

#include "base/bytes.h"

uint64_t checksum(struct bytes bytes, uint64_t seed);

/* Of `first` followed by `second`, as one run of bytes that is not copied together: the mix of the
 * two checksums, different from checksum() of the same bytes in one piece. */
uint64_t checksum_pair(struct bytes first, struct bytes second, uint64_t seed);

#endif
