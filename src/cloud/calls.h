/*
 * What a controller has asked its provider. A pass asks, and when the answer is not there yet the key is enqueued once it is; the next
 * pass finds the answer. One call is under way for a verb and a key at a time.
 */
#ifndef CLOUD_CALLS_H
#define CLOUD_CALLS_H

#include "cloud/cloud.h"

struct cloud_calls;

struct cloud_calls *cloud_calls_new(struct controller *c);
/* Calls that are under way are answered to nobody. NULL-safe. */
struct cloud_calls *cloud_calls_free(struct cloud_calls *s);

enum cloud_call_state { CLOUD_CALL_WAITS, CLOUD_CALL_DONE, CLOUD_CALL_FAILED };

/*
 * The call about this key: with '*ret_new' a new one, to be handed to the provider; otherwise the one that waits or has ended. An answer
 * to another 'question' (a number that says what was asked) is dropped. NULL: too many are under way, or the call of this key waits
 * for the answer to another question; the key is enqueued again once there is room, or the answer is there.
 */
struct cloud_call *cloud_calls_ask(struct cloud_calls *s, const char *verb, struct str key, uint64_t question, bool *ret_new);
/* Where it stands. Asked by each pass after the provider was: from then on its answer enqueues the key. */
enum cloud_call_state cloud_call_settle(struct cloud_call *c);
const void *cloud_call_answer(const struct cloud_call *c);
const struct err *cloud_call_err(const struct cloud_call *c);
/* The answer was used: frees the call. */
void cloud_calls_drop(struct cloud_call *c);

#endif
