/* An LSTM of your own, held to vectors:
     gatewise vectors export --cell lstm --dtype float32 --format c -o v
     cc -std=c99 -Iv reader.c v/vectors.c -lm -o reader && ./reader */
#include "vectors.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static float sigmoid(float a) { return 1 / (1 + expf(-a)); }
/* One pass over T steps of one row: gates i, f, g, o; W (4, D, H), U (4, H, H), b (4, H). */
static void lstm(int T, int D, int H, int backward, const float *x, int x_step, const double *W, const double *U,
                 const double *b, float *h, float *c, float *y, int y_step) {
    float a[4][64], old[64];
    for (int s = 0; s < T; s++) {
        int t = backward ? T - 1 - s : s;
        memcpy(old, h, H * sizeof *h);
        for (int k = 0; k < 4; k++)
            for (int u = 0; u < H; u++) {
                a[k][u] = (float)b[k * H + u];
                for (int d = 0; d < D; d++) a[k][u] += x[t * x_step + d] * (float)W[(k * D + d) * H + u];
                for (int j = 0; j < H; j++) a[k][u] += old[j] * (float)U[(k * H + j) * H + u];
            }
        for (int u = 0; u < H; u++) {
            float i = sigmoid(a[0][u]), f = sigmoid(a[1][u]), g = tanhf(a[2][u]), o = sigmoid(a[3][u]);
            c[u] = f * c[u] + i * g;
            h[u] = y[t * y_step + u] = o * tanhf(c[u]);
        }
    }
}

/* The rest needs no change for a layer of your own. */
static const gatewise_array *named(const gatewise_test *t, const char *name, const char *suffix) {
    char whole[64];
    snprintf(whole, sizeof whole, "%s%s", name, suffix);
    for (int k = 0; k < t->given_count; k++)
        if (!strcmp(t->given[k].name, whole)) return t->given + k;
    return NULL;
}

static int failures(const gatewise_test *t, const char *name, const float *got) {
    for (int k = 0; k < t->expected_count; k++)
        for (int e = 0; e < t->expected[k].size && !strcmp(t->expected[k].name, name); e++)
            if (!(fabs(got[e] - t->expected[k].value[e]) <= t->expected[k].bound[e]))
                return printf("test %d: %s, entry %d is %.9g, expected %.9g (%s)\n", t->id, name, e, got[e],
                              t->expected[k].value[e], t->comment) > 0;
    return 0;
}

int main(void) {
    int failed[256] = {0}, any = 0;
    for (int n = 0; n < gatewise_tests_count; n++) {
        const gatewise_test *t = gatewise_tests + n;
        int width = t->directions * t->H, in = t->D, passes = t->layers * t->directions, state = t->B * t->H;
        const gatewise_array *given = named(t, "x", ""), *lengths = named(t, "lengths", "");
        const gatewise_array *h0 = named(t, "initial h", ""), *c0 = named(t, "initial c", "");
        float *x = calloc(given->size + 1, sizeof *x), *y = x, *h = calloc(2 * passes * state, sizeof *h), *c = h + passes * state;
        for (int e = 0; e < given->size; e++) x[e] = (float)given->value[e];
        for (int e = 0; h0 && e < passes * state; e++) h[e] = (float)h0->value[e], c[e] = (float)c0->value[e];
        for (int k = 0; k < passes; k++) {
            char suffix[32];
            snprintf(suffix, sizeof suffix, "_l%d%s", k / t->directions, k % t->directions ? "_reverse" : "");
            if (k % t->directions == 0) in = k ? width : t->D, x = y, y = calloc(t->T * t->B * width + 1, sizeof *y);
            for (int r = 0; r < t->B; r++)
                lstm(lengths ? (int)lengths->value[r] : t->T, in, t->H, k % t->directions, x + r * in, t->B * in,
                     named(t, "W", suffix)->value, named(t, "U", suffix)->value, named(t, "b", suffix)->value,
                     h + k * state + r * t->H, c + k * state + r * t->H, y + r * width + k % t->directions * t->H, t->B * width);
        }
        any |= failed[n] = failures(t, "y", y) | failures(t, "final h", h) | failures(t, "final c", c);
    }
    for (int m = 0; any && m < gatewise_notes_count; m++) { /* the mistakes that fail exactly these tests */
        int same = 1, caught = 0;
        for (int n = 0; n < gatewise_tests_count; n++, caught = 0) {
            for (int k = 0; k < gatewise_tests[n].outputs_catch_count; k++) caught |= gatewise_tests[n].outputs_catch[k] == m;
            same &= caught == failed[n];
        }
        if (same) printf("it fails as this mistake does: %s\n", gatewise_notes[m].mistake);
    }
    printf("%d tests, %s\n", gatewise_tests_count, any ? "some failed" : "all passed");
    return any;
}
