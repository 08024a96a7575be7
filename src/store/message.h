/* A turn of a conversation, as data sets give it and templates render it. */
#pragma once

#include <stddef.h>

/* Content is a list: {"type": "text", "text": part} for each part, {"type": "image"} where it is
 * VLMP_CHAT_PICTURE. */
typedef struct {
    const char *role;         /* "user", "assistant", "system" */
    const char *const *parts; /* [part_count] */
    size_t part_count;
} vlmp_chat_message;

#define VLMP_CHAT_PICTURE NULL /* a part of a message: a picture stands here */
