/* An LSTM in C, held by gatewise as: gatewise verify process:./lstm

   It answers lines of JSON. Arrays come as decimal numbers in C order, which strtod reads; the weights
   are those of the equations: W (4, D, H), U (4, H, H), b (4, H), gates in the order i f g o. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 1 << 26 };

static char line[LONGEST];

/* The integer after "name": */
static long integer(const char *name) {
    char key[32];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(line, key);
    return at ? strtol(at + strlen(key), NULL, 10) : 0;
}

/* The entries of the array "name", or zeros where there is none. */
static double *array(const char *name, long size) {
    double *values = calloc(size ? size : 1, sizeof *values);
    char key[32];
    snprintf(key, sizeof key, "\"%s\":{", name);
    char *at = strstr(line, key);
    if (!at) return values;
    at = strstr(at, "\"values\":[") + strlen("\"values\":[");
    for (long k = 0; k < size; k++) {
        while (*at == '"' || *at == ',') at++; /* "NaN" stands in quotes */
        values[k] = strtod(at, &at);
    }
    return values;
}

static void print(const char *name, const double *values, long rows, long width, long steps) {
    printf("\"%s\":{\"dtype\":\"float64\",\"shape\":[", name);
    if (steps >= 0) printf("%ld,", steps);
    printf("%ld,%ld],\"values\":[", rows, width);
    long size = rows * width * (steps >= 0 ? steps : 1);
    for (long k = 0; k < size; k++) {
        if (isfinite(values[k])) printf("%s%.17g", k ? "," : "", values[k]);
        else printf("%s\"%s\"", k ? "," : "", isnan(values[k]) ? "NaN" : values[k] > 0 ? "Infinity" : "-Infinity");
    }
    printf("]}");
}

static double sigmoid(double v) { return 1 / (1 + exp(-v)); }

static void call(void) {
    long T = integer("T"), B = integer("B"), D = integer("D"), H = integer("H");
    double *x = array("x", T * B * D), *W = array("W", 4 * D * H), *U = array("U", 4 * H * H);
    double *b = array("b", 4 * H), *h = array("h0", B * H), *c = array("c0", B * H);
    double *y = calloc(T * B * H + 1, sizeof *y), *a = calloc(4 * H, sizeof *a);
    for (long t = 0; t < T; t++)
        for (long r = 0; r < B; r++) {
            double *old = h + r * H, *cell = c + r * H;
            for (long k = 0; k < 4 * H; k++) { /* gate k / H, unit k % H */
                long gate = k / H, unit = k % H;
                a[k] = b[k];
                for (long d = 0; d < D; d++) a[k] += x[(t * B + r) * D + d] * W[(gate * D + d) * H + unit];
                for (long j = 0; j < H; j++) a[k] += old[j] * U[(gate * H + j) * H + unit];
            }
            for (long u = 0; u < H; u++) {
                double i = sigmoid(a[u]), f = sigmoid(a[H + u]), g = tanh(a[2 * H + u]), o = sigmoid(a[3 * H + u]);
                cell[u] = f * cell[u] + i * g;
                y[(t * B + r) * H + u] = o * tanh(cell[u]);
            }
            memcpy(old, y + (t * B + r) * H, H * sizeof *old);
        }
    printf("{\"id\":%ld,\"arrays\":{", integer("id"));
    print("y", y, B, H, T);
    printf(",");
    print("h", h, B, H, -1);
    printf(",");
    print("c", c, B, H, -1);
    printf("}}\n");
    free(x), free(W), free(U), free(b), free(h), free(c), free(y), free(a);
}

int main(void) {
    while (fgets(line, sizeof line, stdin)) {
        if (strstr(line, "\"do\":\"start\""))
            printf("{\"protocol\":1,\"implementation\":\"lstm.c\",\"language\":\"C\",\"cell\":\"lstm\","
                   "\"encoding\":\"numbers\",\"dtypes\":[\"float64\"]}\n");
        else
            call();
        fflush(stdout);
    }
    return 0;
}
