/* The small languages: ACLs both ways, names of volfiles, address lists of auth.allow, addresses. The first byte chooses. */
#include "fuzz.h"

#include "brick/acl.h"
#include "brick/server.h"
#include "volfile/key.h"

/* What the text form of a well-formed ACL reads back as, is the same. */
static void fuzz_acl(const uint8_t *data, size_t size)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FUZZ_ARENA);
        struct slice acl = {data, (uint32_t)size}, again, child;
        struct stat st = {.st_uid = 1, .st_gid = 2, .st_mode = 0640};
        struct acl_subject who = {.uid = 1000, .gid = 1000};
        char *text;
        mode_t mode = 0666;
        if (acl_check(acl) < 0)
                return;
        (void)acl_grants(acl, st.st_uid, st.st_gid, &who, 4);
        FUZZ_CHECK(acl_inherit(acl, &a, &mode, &child) == 0);
        FUZZ_CHECK(acl_to_text(acl.data, acl.len, &a, &text) == 0);
        FUZZ_CHECK(acl_from_text(text, &a, &again) == 0);
        FUZZ_CHECK(acl_count(again) == acl_count(acl));
}

static void fuzz_acl_text(const char *text)
{
        _cleanup_arena_ struct arena a = ARENA_INIT(FUZZ_ARENA);
        struct slice acl;
        if (acl_from_text(text, &a, &acl) == 0 && acl.len > 0)
                FUZZ_CHECK(acl_check(acl) == 0);
}

static void fuzz_key(const char *text)
{
        struct volfile_key *k = malloc(sizeof *k);
        FUZZ_CHECK(k);
        if (volfile_key_parse(text, k) == 0) {
                FUZZ_CHECK(strlen(k->volume) <= VOLFILE_VOLUME_MAX && !strchr(k->volume, '/'));
                (void)volfile_key_is_brick(k, "host", "/srv/brick");
        }
        free(k);
}

/* TEXT is a list and a peer, with a line end between. */
static void fuzz_auth(char *text)
{
        char *end = strchr(text, '\n');
        if (end)
                *end = '\0';
        const char *peer = end ? end + 1 : "10.0.0.1:1000";
        (void)auth_address(text, "", peer, "/a");
        (void)auth_address("*", text, peer, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        char *text = strndup((const char *)data + 1, size - 1);
        struct address address;
        FUZZ_CHECK(text);
        switch (data[0] % 5) {
        case 0:
                fuzz_acl(data + 1, size - 1);
                break;
        case 1:
                fuzz_acl_text(text);
                break;
        case 2:
                fuzz_key(text);
                break;
        case 3:
                fuzz_auth(text);
                break;
        default:
                (void)address_parse(text, &address);
        }
        free(text);
        return 0;
}
