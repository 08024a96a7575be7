#include "tools/eval_report.h"

#include <string.h>

static void quote(vlmp_buffer *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "@%+=:,./_-";
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        vlmp_buffer_text(out, word);
        return;
    }
    vlmp_buffer_text(out, "'");
    for (; *word != '\0'; word++) {
        if (*word == '\'')
            vlmp_buffer_text(out, "'\\''");
        else
            vlmp_buffer_append(out, word, 1);
    }
    vlmp_buffer_text(out, "'");
}

void vlmp_command_line(vlmp_buffer *out, int argc, char *const *argv)
{
    for (int i = 0; i < argc; i++) {
        const char *slash = i == 0 ? strrchr(argv[0], '/') : NULL;
        if (i > 0) vlmp_buffer_text(out, " ");
        quote(out, slash != NULL ? slash + 1 : argv[i]);
    }
}
