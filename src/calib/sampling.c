#include "src/calib/sampling.h"

#include <ctype.h>
#include <stdlib.h>

#include "src/base/memory.h"
#include "src/base/rng.h"

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The two values that cut `values` into thirds; `values` is sorted in place. */
static void thirds(double *values, size_t count, double cut[2])
{
    qsort(values, count, sizeof *values, compare_doubles);
    cut[0] = values[count / 3];
    cut[1] = values[2 * count / 3];
}

static int third_of(double value, const double cut[2])
{
    return (value >= cut[0]) + (cut[1] > cut[0] && value >= cut[1]);
}

uint64_t vlmp_first_word(const char *prompt)
{
    uint64_t word = 0;
    while (isspace((unsigned char)*prompt))
        prompt++;
    for (int i = 0; i < 8; i++) {
        word <<= 8;
        if (*prompt != '\0' && !isspace((unsigned char)*prompt)) word |= (unsigned char)*prompt++;
    }
    return word;
}

struct labelled {
    const vlmp_stratum_key *key;
    int aspect, answer;
    size_t index;
};

static int compare_strata(const struct labelled *x, const struct labelled *y)
{
    if (x->aspect != y->aspect) return x->aspect - y->aspect;
    if (x->answer != y->answer) return x->answer - y->answer;
    return (x->key->first_word > y->key->first_word) - (x->key->first_word < y->key->first_word);
}

static int compare_labelled(const void *a, const void *b)
{
    const struct labelled *x = a, *y = b;
    int order = compare_strata(x, y);
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

static void label(struct labelled *items, vlmp_stratum_key *keys, size_t count, double *values)
{
    double aspect_cut[2], answer_cut[2];
    for (size_t i = 0; i < count; i++)
        values[i] = keys[i].aspect;
    thirds(values, count, aspect_cut);
    for (size_t i = 0; i < count; i++)
        values[i] = (double)keys[i].answer_length;
    thirds(values, count, answer_cut);
    for (size_t i = 0; i < count; i++)
        items[i] = (struct labelled){
            .key = &keys[i],
            .index = i,
            .aspect = third_of(keys[i].aspect, aspect_cut),
            .answer = third_of((double)keys[i].answer_length, answer_cut),
        };
    qsort(items, count, sizeof *items, compare_labelled);
}

/* Fisher-Yates, as far as needed. */
static void draw(struct labelled *items, size_t count, size_t take, vlmp_rng *rng)
{
    for (size_t i = 0; i < take; i++) {
        size_t j = i + (size_t)vlmp_rng_below(rng, count - i);
        struct labelled swap = items[i];
        items[i] = items[j];
        items[j] = swap;
    }
}

static int compare_sizes(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* begin[s] … begin[s + 1]: stratum s in items. Proportional shares; the seats left over by rounding
 * down go to the largest remainders, the earlier stratum first among equals. */
static void share(const size_t *begin, size_t strata, size_t count, size_t want, size_t *take)
{
    size_t given = 0;
    for (size_t s = 0; s < strata; s++) {
        take[s] = (begin[s + 1] - begin[s]) * want / count;
        given += take[s];
    }
    while (given < want) {
        size_t best = strata, best_remainder = 0;
        for (size_t s = 0; s < strata; s++) {
            size_t size = begin[s + 1] - begin[s];
            if (take[s] > size * want / count || take[s] >= size) continue;
            size_t remainder = size * want % count;
            if (best == strata || remainder > best_remainder) best = s, best_remainder = remainder;
        }
        if (best == strata) break;
        take[best]++;
        given++;
    }
}

static void choose(struct labelled *items, vlmp_stratum_key *keys, size_t *begin, size_t *take,
                   size_t count, size_t want, uint64_t seed, size_t *chosen, size_t *strata)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || compare_strata(&items[i - 1], &items[i]) != 0) begin[n++] = i;
        keys[items[i].index].stratum = (int)(n - 1);
    }
    begin[n] = count;
    *strata = n;
    share(begin, n, count, want, take);
    vlmp_rng rng = {seed};
    size_t out = 0;
    for (size_t s = 0; s < n; s++) {
        draw(items + begin[s], begin[s + 1] - begin[s], take[s], &rng);
        for (size_t i = 0; i < take[s]; i++)
            chosen[out++] = items[begin[s] + i].index;
    }
    qsort(chosen, out, sizeof *chosen, compare_sizes);
}

int vlmp_choose_samples(vlmp_stratum_key *keys, size_t count, size_t want, uint64_t seed,
                        size_t *chosen, size_t *strata, vlmp_error *err)
{
    if (want > count) want = count;
    struct labelled *items = vlmp_alloc(count, sizeof *items);
    double *values = vlmp_alloc(count, sizeof *values);
    size_t *begin = vlmp_alloc(count + 1, sizeof *begin);
    size_t *take = vlmp_alloc(count, sizeof *take);
    int status = VLMP_OK;
    if (items != NULL && values != NULL && begin != NULL && take != NULL) {
        label(items, keys, count, values);
        choose(items, keys, begin, take, count, want, seed, chosen, strata);
    } else {
        status = vlmp_fail_memory(err, "choice of samples");
    }
    free(items);
    free(values);
    free(begin);
    free(take);
    return status;
}

/* An item in its place of the drawing order: strata take turns, each at even distances. */
struct placed {
    const vlmp_draw_item *item;
    double place; /* in the order of its stratum, 0 … 1 */
    uint64_t lot;
    int stratum;
};

static int compare_in_strata(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    if (x->stratum != y->stratum) return x->stratum - y->stratum;
    if (x->lot != y->lot) return x->lot < y->lot ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static int compare_places(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    if (x->lot != y->lot) return x->lot < y->lot ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static double picture_share(const vlmp_draw_item *item)
{
    return (double)item->pictures / (double)item->tokens;
}

static void place(struct placed *order, const vlmp_draw_item *items, size_t count, uint64_t seed,
                  double *values)
{
    double length_cut[2], share_cut[2] = {0, 0};
    size_t with = 0;
    for (size_t i = 0; i < count; i++)
        if (items[i].pictures > 0) values[with++] = picture_share(&items[i]);
    if (with > 0) thirds(values, with, share_cut);
    for (size_t i = 0; i < count; i++)
        values[i] = (double)items[i].tokens;
    thirds(values, count, length_cut);
    for (size_t i = 0; i < count; i++) {
        const vlmp_draw_item *item = &items[i];
        vlmp_rng rng = {item->key ^ vlmp_rng_next(&(vlmp_rng){seed})};
        int share = item->pictures > 0 ? 1 + third_of(picture_share(item), share_cut) : 0;
        order[i] =
            (struct placed){.item = item,
                            .lot = vlmp_rng_next(&rng),
                            .stratum = 3 * share + third_of((double)item->tokens, length_cut)};
    }
    qsort(order, count, sizeof *order, compare_in_strata);
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first; end < count && order[end].stratum == order[first].stratum;)
            end++;
        for (size_t i = first; i < end; i++)
            order[i].place = ((double)(i - first) + 0.5) / (double)(end - first);
    }
    qsort(order, count, sizeof *order, compare_places);
}

static void draw_in_order(const struct placed *order, const vlmp_draw_item *items, size_t count,
                          vlmp_draw_budget left, bool *drawn)
{
    bool met[2] = {false, false}; /* without and with pictures */
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < count; i++) {
            const vlmp_draw_item *item = order[i].item;
            bool *kind = &met[item->pictures > 0], *taken = &drawn[item - items];
            bool wanted = left.tokens > 0 || left.samples > 0 ||
                          (left.tower_rows > 0 && item->tower_rows > 0);
            if (*taken || (round == 0 ? *kind : !wanted)) continue;
            *kind = *taken = true;
            left.tokens -= item->tokens;
            left.tower_rows -= item->tower_rows;
            left.samples--;
        }
}

int vlmp_draw_samples(const vlmp_draw_item *items, size_t count, const vlmp_draw_budget *budget,
                      uint64_t seed, bool *drawn, vlmp_error *err)
{
    struct placed *order = vlmp_alloc(count, sizeof *order);
    double *values = vlmp_alloc(count, sizeof *values);
    int status =
        order != NULL && values != NULL ? VLMP_OK : vlmp_fail_memory(err, "choice of samples");
    for (size_t i = 0; i < count; i++)
        drawn[i] = false;
    if (status == VLMP_OK && count > 0) {
        place(order, items, count, seed, values);
        draw_in_order(order, items, count, *budget, drawn);
    }
    free(order);
    free(values);
    return status;
}
