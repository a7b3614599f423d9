/*
 * The main of fuzzers where libFuzzer is not linked in: replays every file of the folders given, so that each crash that
 * was ever found is a test, and then tries inputs made from them and from nothing, the same ones every time.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_INPUT_MAX (1 << 20)
#define N_MADE 2000

/* SplitMix64: small, and the same on every machine. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* An exact heap copy, so that the sanitizer sees a read past the end. */
static void run(const char *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        abort();
    }
    memcpy(copy, bytes, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void mutate(struct str seed, uint64_t *state)
{
    char room[4096];
    size_t size = seed.len < sizeof(room) ? seed.len : sizeof(room);
    memcpy(room, seed.ptr ? seed.ptr : "", size);
    if (size == 0 || next_random(state) % 4 == 0) {
        size = next_random(state) % 128;
        for (size_t i = 0; i < size; i++) {
            room[i] = (char)next_random(state);
        }
    }
    for (uint64_t n = next_random(state) % 8; size && n; n--) {
        room[next_random(state) % size] = (char)next_random(state);
    }
    if (size && next_random(state) % 3 == 0) {
        size = next_random(state) % size;
    }
    run(room, size);
}

int main(int argc, char **argv)
{
    size_t n_files = 0;
    uint64_t state = 1;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        struct dirent *e;
        while (d && (e = readdir(d))) {
            char path[PATH_MAX];
            struct buf b;
            buf_init(&b, FUZZ_INPUT_MAX);
            if (e->d_name[0] != '.' && snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name) < (int)sizeof(path) &&
                fs_read(path, FUZZ_INPUT_MAX, &b, NULL)) {
                n_files++;
                run(b.ptr ? b.ptr : "", b.len);
                for (int n = 0; n < 50; n++) {
                    mutate(buf_str(&b), &state);
                }
            }
            buf_deinit(&b);
        }
        if (d) {
            closedir(d);
        }
    }
    for (int n = 0; n < N_MADE; n++) {
        mutate(STR_EMPTY, &state);
    }
    printf("1 passed, 0 failed, 0 skipped (%zu files)\n", n_files);
    return 0;
}
