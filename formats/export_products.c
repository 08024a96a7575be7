#include "formats/export_products.h"

#include <string.h>

static const struct {
    const char *before, *product, *members[VLMP_PRODUCT_MEMBERS];
} products[] = {{"attn.", "qkv", {"q", "k", "v"}}, {"mlp.", "gate_up", {"gate", "up"}}};

static const char *const tails[] = {"", "_proj"};

/* Takes the end off a name. */
static bool take(const char *name, size_t *length, const char *end)
{
    size_t taken = strlen(end);
    if (*length < taken || memcmp(name + *length - taken, end, taken) != 0) return false;
    *length -= taken;
    return true;
}

bool vlmp_product_of(vlmp_product *out, const char *name, size_t length)
{
    for (size_t p = 0; p < sizeof products / sizeof *products; p++)
        for (size_t t = 0; t < sizeof tails / sizeof *tails; t++)
            for (int m = 0; m < VLMP_PRODUCT_MEMBERS && products[p].members[m] != NULL; m++) {
                size_t head = length;
                if (!take(name, &head, tails[t]) || !take(name, &head, products[p].members[m]))
                    continue;
                size_t before = head;
                if (!take(name, &before, products[p].before)) continue;
                *out = (vlmp_product){.head = (int)head,
                                      .product = products[p].product,
                                      .tail = tails[t],
                                      .index = m};
                memcpy(out->members, products[p].members, sizeof out->members);
                return true;
            }
    return false;
}
