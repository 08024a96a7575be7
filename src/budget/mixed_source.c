#include "src/budget/mixed_source.h"

#include <stdio.h>
#include <string.h>

#include "src/model/names.h"

static const vlmp_mixed_source *mixed(const vlmp_source *self)
{
    return (const vlmp_mixed_source *)(const void *)self;
}

/* The source of a tensor. */
static const vlmp_source *route(const vlmp_source *self, const char *tensor)
{
    char stem[VLMP_NAME_BYTES];
    snprintf(stem, sizeof stem, "%.*s", (int)vlmp_name_stem(tensor), tensor);
    return mixed(self)->route(mixed(self)->arg, stem);
}

static size_t mixed_count(const vlmp_source *self)
{
    return mixed(self)->usual->count(mixed(self)->usual);
}

static const vlmp_tensor *mixed_at(const vlmp_source *self, size_t index)
{
    return mixed(self)->usual->at(mixed(self)->usual, index);
}

static const vlmp_tensor *mixed_find(const vlmp_source *self, const char *name)
{
    const vlmp_source *from = route(self, name);
    return from->find(from, name);
}

static const vlmp_scheme *mixed_scheme(const vlmp_source *self, const char *name)
{
    const vlmp_source *from = mixed(self)->route(mixed(self)->arg, name);
    return from->scheme(from, name);
}

static const char *mixed_file(const vlmp_source *self, const char *name, size_t *length)
{
    return mixed(self)->usual->file(mixed(self)->usual, name, length);
}

static const char *mixed_file_at(const vlmp_source *self, size_t index)
{
    return mixed(self)->usual->file_at(mixed(self)->usual, index);
}

static void mixed_release(const vlmp_source *self, const vlmp_tensor *tensor)
{
    const vlmp_source *from = route(self, tensor->name);
    from->release(from, tensor);
}

static void mixed_close(vlmp_source *self)
{
    (void)self;
}

void vlmp_mixed_source_init(vlmp_mixed_source *out, const vlmp_source *usual, vlmp_route_fn *by,
                            void *arg)
{
    *out = (vlmp_mixed_source){.base = *usual, .usual = usual, .route = by, .arg = arg};
    out->base.digest_now = NULL;
    out->base.count = mixed_count;
    out->base.at = mixed_at;
    out->base.find = mixed_find;
    out->base.scheme = mixed_scheme;
    out->base.file = mixed_file;
    out->base.file_at = mixed_file_at;
    out->base.release = mixed_release;
    out->base.close = mixed_close;
}
