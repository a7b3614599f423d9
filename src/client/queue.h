/*
 * A work queue of keys: a key is in it at most once; a key that is added while it is worked on
 * comes again afterwards; delays and per-key exponential back-off (client-go's workqueue: 5 ms
 * doubling to 1000 s, and 10 a second with a burst of 100 over all keys). Engine without a clock:
 * the loop's time is an argument.
 */
#ifndef CLIENT_QUEUE_H
#define CLIENT_QUEUE_H

#include "base/str.h"

struct queue;

struct queue *queue_new(void);
struct queue *queue_free(struct queue *q);
/* Adds the key now, or after 'delay_ms'. An earlier time wins. */
void queue_add(struct queue *q, struct str key, uint64_t now_ms, uint64_t delay_ms);
/* Adds the key after its back-off, which doubles each time until queue_forget(). */
void queue_add_backoff(struct queue *q, struct str key, uint64_t now_ms);
void queue_forget(struct queue *q, struct str key);
/* The next key that is due, which is then being worked on until queue_done(). False when none is
 * due. The key stays valid until queue_done(). */
bool queue_take(struct queue *q, uint64_t now_ms, struct str *ret_key);
void queue_done(struct queue *q, struct str key, uint64_t now_ms);
/* Milliseconds until a key is due: 0 now, UINT64_MAX never. */
uint64_t queue_wait_ms(const struct queue *q, uint64_t now_ms);
/* Keys waiting, delayed ones included. */
size_t queue_len(const struct queue *q);

#endif
