/* Every bound of the room, with its reason. */
#ifndef STORE_LIMITS_H
#define STORE_LIMITS_H

/* etcd refuses requests above 1.5 MB by default and the apiserver bodies above 3 MB; a stored value may be larger than the
 * body it came from (managedFields). Answer: STORE_E_TOO_LARGE, 413. */
#define STORE_MAX_VALUE (4u << 20)
/* Names are at most 253 bytes, namespaces 63, groups 253. */
#define STORE_MAX_KEY 1024u
/* JSON of one object: a value of 4 MB can be larger as JSON (base64, field names). */
#define OBJECT_MAX_JSON (32u << 20)

/* One page of a range, so that a page neither stalls the sequencer nor holds much. */
#define STORE_PAGE_BYTES (1u << 20)
#define STORE_PAGE_ITEMS 1000u

/* So many writes of one turn of the loop are handed over before it ends when no commit is under way. */
#define STORE_HAND_OVER 4u

/* A group that is gathered while an fsync runs: past this the group is closed and writes wait for the next one. */
#define STORE_GROUP_BYTES (8u << 20)
#define STORE_GROUP_WRITES 4096u

/* Writes queued and not yet durable. Past it the apiserver's flow control has failed; answer STORE_E_UNAVAILABLE, 503. */
#define STORE_MAX_PENDING 65536u

/* Revisions are reserved durably so many at a time: a reservation costs one small write, and after a crash the rest of the
 * block is skipped. An idle node renews about 1.5 leases a second: four reservations a day. */
#define STORE_REVISION_BLOCK 32768

/* Volatile values held back from disk: past it all of them are written out. */
#define STORE_HELD_BACK_BYTES (4u << 20)
/* The volatile log in tmpfs is written anew when it is larger than this and twice what is live. */
#define STORE_VOLATILE_LOG_BYTES (2u << 20)

/* Memory of each of SQLite's two page caches. */
#define STORE_SQLITE_CACHE_KIB 512
/* Pages of 2 KB in the WAL before it is copied into the file (16 MB). */
#define STORE_WAL_PAGES 8000
/* Pages the log may have when a process that reads the store does not let it start over (128 MB): past it writes are refused with
 * STORE_E_FULL until that reader is gone. */
#define STORE_WAL_MAX_PAGES 64000
/* A file that can shrink is made smaller by so many pages at a time, after a commit, when more than a quarter of it and at least so many are free. */
#define STORE_VACUUM_PAGES 256
#define STORE_VACUUM_MIN_FREE 2048

/* Bytes of the log that are written at once: thirty pages. */
#define STORE_WAL_GATHER (64u << 10)

/* Zeros kept behind the end of the WAL, so that commits do not make the file longer. */
#define STORE_WAL_AHEAD (512 << 10)

/* One answer of etcd: a page of STORE_ETCD_PAGE values of etcd's own largest request (1.5 MB by default) would be more; such a page
 * is asked for again in smaller pieces. */
#define STORE_ETCD_MAX_MESSAGE (64u << 20)
/* What one answer may become when it is decoded (strings borrow from the answer, so this is structs). */
#define STORE_ETCD_MAX_ARENA (64u << 20)
/* Keys in a page: at 1.7 KB a pod, about a megabyte. */
#define STORE_ETCD_PAGE 500u
/* Transactions under way at once; what is more waits here. etcd takes 250 streams of a connection in its stride. */
#define STORE_ETCD_MAX_TXNS 200u
/* One attempt of a call, and all attempts together. etcd itself gives a proposal five seconds and two election times. */
#define STORE_ETCD_ATTEMPT_MS 10000u
#define STORE_ETCD_CALL_MS 20000u
/* A read is asked again after this: a question that went down with a leader is answered by the next one. */
#define STORE_ETCD_READ_ATTEMPT_MS 2000u
/* A transaction without an answer for so long is looked into. */
#define STORE_ETCD_STALL_MS 1000u
/* How long an answer waits for its own event on the watch stream before it is given without. */
#define STORE_ETCD_EVENT_WAIT_MS 5000u
/* A lease is shared by so many keys at most, and by keys whose ends differ by 5 % of their time but no more than this: upstream's
 * figures, so that an expiry is a bounded batch. */
#define STORE_ETCD_LEASE_KEYS 1000u
#define STORE_ETCD_LEASE_REUSE_S 60
/* Progress is asked for so often while somebody waits for it. */
#define STORE_ETCD_PROGRESS_MS 100u

/* Ring of a watch cache: superseded objects that only the ring still holds, and changes. A burst may fill it; what is older
 * than the age goes as soon as the ring holds more than the idle bytes (75 seconds: upstream's event freshness). */
#define WATCH_RING_BYTES (8u << 20)
#define WATCH_RING_IDLE_BYTES (256u << 10)
#define WATCH_RING_IDLE_EVENTS 512u
#define WATCH_RING_AGE_MS 75000u
#define WATCH_RING_EVENTS 16384u
/* Never fewer changes than this, however large the objects are, so that a watcher survives a pause. */
#define WATCH_RING_MIN 32u
/* Changes queued for a watcher that is found by index; past it the watcher reads the ring instead. */
#define WATCHER_QUEUE_MAX 64u
/* Newest changes whose frames are kept. */
#define WATCH_FRAMES 128u

#endif
