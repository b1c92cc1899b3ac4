/* What a brick process takes on its control socket: messages, and an attached brick's volfile. The first byte chooses. */
#include "fuzz.h"

#include "brick/control.h"
#include "brick/server.h"
#include "pool/management.h"

#define DESC(msg, FIELDS) &msg##_desc,
static const struct msg_desc *const messages[] = {CONTROL_MESSAGES(DESC) MANAGEMENT_MESSAGES(DESC)};

/* A volfile that is taken gives texts that end and addresses that can be looked at. */
static void fuzz_config(const uint8_t *data, size_t size)
{
        struct export_config *c = malloc(sizeof *c);
        struct error e = {0};
        FUZZ_CHECK(c);
        int r = export_config_parse((const char *)data, size, c, &e);
        FUZZ_CHECK(r == 0 || e.text[0] != '\0');
        if (r == 0) {
                FUZZ_CHECK(c->path[0] == '/' && strlen(c->path) <= PATH_LIMIT);
                const struct auth_client peers[] = {{.peer = "10.0.0.1:1023", .subdir = "/a", .certificate = "name"},
                                                    {.peer = "unix", .trusted = true}};
                (void)auth_login(c, "user", "password");
                for (size_t k = 0; k < ELEMENTSOF(peers); k++)
                        (void)auth_check(c, &peers[k]);
        }
        free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        if (data[0] & 1)
                fuzz_config(data + 1, size - 1);
        else
                fuzz_message(messages[(data[0] >> 1) % ELEMENTSOF(messages)], data + 1, size - 1);
        return 0;
}
