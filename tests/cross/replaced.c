// Holds the functions of contrib/replaced.c against loops over bytes: every size up to 80 at every alignment of both sides, and
// every overlap. Linked with them and run under qemu by tests/cross/run.sh; where they have none, these are the C library's.
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { LONGEST = 80, ALIGNMENTS = 8, ROOM = 3 * LONGEST + ALIGNMENTS };

static unsigned char expected[ROOM], area[ROOM], other[ROOM];

static void fill(unsigned char *bytes) {
    for (int i = 0; i < ROOM; i++) bytes[i] = (unsigned char)(i * 7 + 1);
}

static int fail(const char *what, int to, int from, int count) {
    printf("%s is wrong: %d bytes from %d to %d\n", what, count, from, to);
    return 1;
}

static int is_expected(void) {
    for (int i = 0; i < ROOM; i++) {
        if (area[i] != expected[i]) return 0;
    }
    return 1;
}

static int copies(int to, int from, int count) {
    fill(expected), fill(area);
    for (int i = 0; i < ROOM; i++) other[i] = (unsigned char)(255 - i);
    for (int i = 0; i < count; i++) expected[to + i] = other[from + i];
    if (memcpy(area + to, other + from, (size_t)count) != area + to || !is_expected()) return fail("memcpy", to, from, count);
    return 0;
}

static int moves(int to, int from, int count) {
    fill(expected), fill(area), fill(other);
    for (int i = 0; i < count; i++) expected[to + i] = other[from + i];
    if (memmove(area + to, area + from, (size_t)count) != area + to || !is_expected()) return fail("memmove", to, from, count);
    return 0;
}

// Bytes that differ before and behind what is compared do not count; one within does, wherever it is.
static int compares(int left, int right, int count) {
    fill(area);
    for (int i = 0; i < ROOM; i++) other[i] = (unsigned char)(area[i] + 1);
    for (int i = 0; i < count; i++) other[right + i] = area[left + i];
    if (bcmp(area + left, other + right, (size_t)count) != 0) return fail("bcmp", left, right, count);
    for (int i = 0; i < count; i++) {
        other[right + i] ^= 0x80;
        if (bcmp(area + left, other + right, (size_t)count) == 0) return fail("bcmp", left, right, count);
        other[right + i] ^= 0x80;
    }
    return 0;
}

int main(void) {
    for (int count = 0; count <= LONGEST; count++) {
        for (int a = 0; a < ALIGNMENTS; a++) {
            for (int b = 0; b < ALIGNMENTS; b++) {
                if (copies(a, b, count) || compares(a, b, count)) return 1;
            }
            for (int to = 0; to <= 2 * LONGEST; to++) {
                if (moves(to, LONGEST + a, count)) return 1;
            }
        }
    }
    return 0;
}
