/* Tokens from … end − 1 of a sequence: an answer among them. */
#pragma once

typedef struct {
    int from, end;
} vlmp_span;
