/* Every bound of the room, with its reason. */
#ifndef CLIENT_LIMITS_H
#define CLIENT_LIMITS_H

/* The most an answer that is decoded whole may have: an object is at most 3 MiB in upstream's store
 * (1.5 MiB request limit, managedFields doubled), a page of 500 of the largest usual objects is far
 * below this. */
#define CLIENT_ANSWER_MAX (64u << 20)
/* Memory of a decoded answer. */
#define CLIENT_ARENA_MAX (256u << 20)
/* One line of a watch: an event with one object. */
#define CLIENT_WATCH_LINE_MAX (16u << 20)
/* How often a call is tried in all; reads that got no answer, writes that were not sent, and
 * 429/503 with Retry-After. */
#define CLIENT_TRIES 10
/* Objects asked for in one page of a list, as client-go's pager. */
#define CLIENT_PAGE "500"
/* A bearer token file is read again after so long (client-go: one minute). */
#define CLIENT_TOKEN_REREAD_MS 60000
/* How often a call looks whether the client is held still. */
#define CLIENT_HELD_MS 200
/* Largest token, and certificate or key file, that is taken. */
#define CLIENT_TOKEN_MAX 65536
#define CLIENT_FILE_MAX (1u << 20)

#endif
