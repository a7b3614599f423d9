#include "base/rand.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"

TEST(a_forked_process_gets_other_random_bytes_than_its_parent)
{
    unsigned char first[16], ours[16], theirs[16];
    int ends[2];
    rand_bytes(first, sizeof(first)); /* so that there are bytes which were asked for ahead */
    CHECK_INT(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        rand_bytes(ours, sizeof(ours));
        _exit(write(ends[1], ours, sizeof(ours)) == sizeof(ours) ? 0 : 1);
    }
    rand_bytes(ours, sizeof(ours));
    CHECK_INT(read(ends[0], theirs, sizeof(theirs)), (int)sizeof(theirs));
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(memcmp(ours, theirs, sizeof(ours)) != 0);
    CHECK(memcmp(ours, first, sizeof(ours)) != 0);
    close(ends[0]);
    close(ends[1]);
}

#define PER_THREAD 2000u

static void *draw(void *arg)
{
    uint64_t *drawn = arg;
    for (unsigned i = 0; i < PER_THREAD; i++) {
        rand_bytes(&drawn[i], sizeof(drawn[i]));
    }
    return NULL;
}

static int number_cmp(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

TEST(threads_that_draw_at_once_get_no_number_twice)
{
    static uint64_t drawn[4 * PER_THREAD];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, draw, drawn + i * PER_THREAD), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    qsort(drawn, ARRAY_SIZE(drawn), sizeof(drawn[0]), number_cmp);
    for (size_t i = 1; i < ARRAY_SIZE(drawn); i++) {
        CHECK(drawn[i - 1] != drawn[i]);
    }
}

TEST(pieces_of_any_length_are_filled)
{
    unsigned char piece[4200];
    for (size_t size = 1; size < sizeof(piece); size = size * 3 / 2 + 1) {
        unsigned seen = 0; /* a last byte that is never anything but zero was not filled: once in 256^8 it is by chance */
        for (unsigned i = 0; i < 8; i++) {
            memset(piece, 0, size);
            rand_bytes(piece, size);
            seen |= piece[size - 1];
        }
        CHECK(seen != 0);
    }
}
