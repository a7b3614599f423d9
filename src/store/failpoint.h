/*
 * Named places at which a test lets the process die, as kill -9 does: "CORACLE_FAILPOINT=committed:3" dies the third time it comes by
 * `failpoint("committed")`. In builds for users (without -Dfailpoints=true and without sanitizers) they are nothing at all.
 *
 *   group-taken      a group is about to be written         committed         it is durable, and nobody knows
 *   begun            its transaction has begun              published         its events and answers are on their way
 *   rows-written     all rows are in the transaction        before-checkpoint the write-ahead log is to be copied
 *   checkpointed     it was                                 wal-extended      zeros were written behind its end
 *   volatile-logged  a volatile write is in its log         superseded        a durable write of a key that is held back was noted
 *   log-rewritten    the volatile log was written anew      flush-begun       what is held back goes to the disk
 *   open-checked     the store was opened and read          open-log-made     the next run's volatile log is there
 *   open-begun       the next run has begun                 close-flushed     what was held back is durable
 *   close-ended      the run has been marked as ended
 */
#ifndef STORE_FAILPOINT_H
#define STORE_FAILPOINT_H

#ifdef CORACLE_FAILPOINTS
void failpoint(const char *name);
/* A number that tests may choose by the environment, so that what is rare happens often. */
long failpoint_number(const char *variable, long usual);
#else
static inline void failpoint(const char *name)
{
    (void)name;
}
static inline long failpoint_number(const char *variable, long usual)
{
    (void)variable;
    return usual;
}
#endif

#endif
