/* base/prng.c: xoshiro256**, seeded by splitmix64 as its authors advise. */
#include "base/prng.h"

#include "base/assert.h"

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

/* Four outputs of splitmix64 are never all zero, the one state that xoshiro cannot leave. */
static uint64_t splitmix_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15U;
    uint64_t mixed = *state;

    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebU;
    return mixed ^ mixed >> 31;
}

void prng_init(struct prng *prng, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++) {
        prng->state[i] = splitmix_next(&seed);
    }
    ASSERT((prng->state[0] | prng->state[1] | prng->state[2] | prng->state[3]) != 0);
}

uint64_t prng_next(struct prng *prng)
{
    uint64_t *s = prng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t prng_below(struct prng *prng, uint64_t bound)
{
    ASSERT(bound != 0);

    /* The first 2^64 mod bound numbers are refused: the rest divides evenly. Less than one number
     * in two is refused, whatever the bound. */
    uint64_t refused = -bound % bound;
    uint64_t number = prng_next(prng);

    while (number < refused) {
        number = prng_next(prng);
    }
    return number % bound;
}

uint64_t prng_between(struct prng *prng, uint64_t low, uint64_t high)
{
    ASSERT_VALUES(low <= high, low, high);

    if (high - low == UINT64_MAX) {
        return prng_next(prng);
    }
    return low + prng_below(prng, high - low + 1);
}
