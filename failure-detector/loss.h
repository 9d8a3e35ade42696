/* failure-detector/loss.h: how often heartbeats are lost, from the gaps in their sequence.
 *
 * Losses come in bad times (Gilbert 1960, Elliott 1963), so three rates are counted over the last
 * thousands of heartbeats: how often one is lost in calm, how often soon after a loss, and how
 * often right behind a lost one. Where losses are independent the three are the same. */
#ifndef FAILURE_DETECTOR_LOSS_H
#define FAILURE_DETECTOR_LOSS_H

#include <stdint.h>

/* Heartbeats whose fate is known, and those of them that were lost. */
struct loss_count {
    uint32_t expected;
    uint32_t lost; /* Both are halved when the first reaches its bound. */
};

struct loss {
    struct loss_count calm;     /* The one before came, and none was lost for a while. */
    struct loss_count troubled; /* The one before came, and one was lost lately. */
    struct loss_count running;  /* The one before was lost. */
    uint32_t trouble;           /* So many more heartbeats are troubled. */
};

/* Probabilities, in [0, 0.9], for those that are to come. */
struct loss_rates {
    double first; /* That the next heartbeat is lost, and with it */
    double next;  /* each further one. */
};

void loss_init(struct loss *loss);

/* A heartbeat has come, and `gap` before it have not. A long gap is an outage, not loss: then
 * nothing is counted. */
void loss_add(struct loss *loss, uint64_t gap);

/* `ppm_min`: what is assumed before anything was seen, and counts less and less. */
struct loss_rates loss_rates(const struct loss *loss, uint32_t ppm_min);

void loss_check(const struct loss *loss);

#endif
