/* tests/sim/extras.h: what some clients do beside their work: transactions on twins, bound keys,
 * watches. Part of tests/sim/sim.h. */
#ifndef TESTS_SIM_EXTRAS_H
#define TESTS_SIM_EXTRAS_H

#include "tests/sim/sim.h"

/* --- transact.c ---------------------------------------------------------------------------------
 */

/* The call's name is set: what it was asked to do as a compare-and-swap. */
void sim_transact_fill_cas(struct sim_call *call, const struct wire_cas *cas);
void sim_transact_begin_twins(struct sim *sim, struct sim_client *client);
void sim_transact_begin_bound(struct sim *sim, struct sim_client *client);
/* A compare-and-swap that was sent as a transaction, and answered: the status that it would have
 * had otherwise. */
MUST_USE enum error sim_transact_swapped(struct sim *sim, const struct sim_client *client,
                                         struct sim_call *call);
/* True when the call was one of these: a write or a list of twins or bound keys. */
bool sim_transact_finished(struct sim *sim, struct sim_client *client, const struct sim_call *call);
void sim_transact_session_begins(struct sim_client *client);
void sim_transact_session_ended(struct sim *sim, struct sim_client *client,
                                const struct sim_call *call);
/* A law of every state. */
void sim_transact_check(struct sim *sim, struct table *table);
/* --- watchers.c ---------------------------------------------------------------------------------
 */

/* After each turn of a node; its process has started. */
void sim_record_turn(struct sim *sim, uint32_t place);
void sim_record_started(struct sim *sim, uint32_t place);
void sim_record_close(struct sim *sim);
/* What was received is looked at before its bytes are moved. */
void sim_watch_tell(struct sim *sim, struct sim_client *client);
void sim_watch_act(struct sim *sim, struct sim_client *client);
/* Every watcher was told all that happened. */
bool sim_watches_have_all(struct sim *sim);

#endif
