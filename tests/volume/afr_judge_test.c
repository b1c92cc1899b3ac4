/* Which copies may be read and where heals go, by the tables of replicate.md §2, §5.3, §10.2 and its appendix. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "volume/afr.h"

#define NOBODY AFR_NO_CHILD

struct copy {
        int result;
        uint64_t size;
        int32_t blames[3][AFR_CLASSES]; /* by child */
        int32_t dirty[AFR_CLASSES];
        int inodelks;
        bool bad;
};

static void fill(const struct copy *from, unsigned n, uint32_t type, struct afr_copy to[])
{
        for (unsigned i = 0; i < n; i++) {
                to[i] = (struct afr_copy){.result = from[i].result,
                                          .size = from[i].size,
                                          .type = type,
                                          .bad = from[i].bad,
                                          .inodelks = from[i].inodelks};
                memcpy(to[i].pending, from[i].blames, sizeof from[i].blames);
                memcpy(to[i].dirty, from[i].dirty, sizeof from[i].dirty);
        }
}

struct readable_case {
        const char *what;
        uint32_t type;
        unsigned arbiter;
        struct copy copies[3];
        afr_set data, metadata;
        bool heal, provisional;
        int unreadable;
};

static const struct readable_case readable_cases[] = {
        {"all clean", S_IFREG, NOBODY, {{0}, {0}, {0}}, 7, 7, false, false, -EIO},
        {"one down", S_IFREG, NOBODY, {{0}, {.result = -ENOTCONN}, {0}}, 5, 5, false, false, -EIO},
        {"0 and 2 blame 1 for data",
         S_IFREG,
         NOBODY,
         {{.blames[1] = {1, 0, 0}}, {0}, {.blames[1] = {1, 0, 0}}},
         5,
         7,
         true,
         false,
         -EIO},
        {"a blamed copy's word counts",
         S_IFREG,
         NOBODY,
         {{.blames[1] = {1, 0, 0}}, {.blames[2] = {1, 0, 0}}, {0}},
         1,
         7,
         true,
         false,
         -EIO},
        {"metadata", S_IFREG, NOBODY, {{.blames[2] = {0, 1, 0}}, {0}, {0}}, 7, 3, true, false, -EIO},
        {"self accusal", S_IFREG, NOBODY, {{.blames[0] = {1, 0, 0}}, {0}, {0}}, 6, 7, true, false, -EIO},
        {"dirty alone", S_IFREG, NOBODY, {{.dirty = {1, 1, 1}}, {0}, {0}}, 7, 7, false, false, -EIO},
        {"a shorter copy", S_IFREG, NOBODY, {{.size = 10}, {.size = 4}, {.size = 10}}, 5, 7, true, false, -EIO},
        {"a shorter copy while somebody writes",
         S_IFREG,
         NOBODY,
         {{.size = 10, .inodelks = 1}, {.size = 4}, {.size = 10}},
         7,
         7,
         false,
         true,
         -EIO},
        {"a blamed copy's size does not count",
         S_IFREG,
         NOBODY,
         {{.size = 10, .blames[1] = {1, 0, 0}}, {.size = 20}, {.size = 10}},
         5,
         7,
         true,
         false,
         -EIO},
        {"split-brain",
         S_IFREG,
         NOBODY,
         {{.blames[1] = {1, 1, 0}, .blames[2] = {1, 0, 0}},
          {.blames[0] = {2, 1, 0}, .blames[2] = {1, 0, 0}},
          {.blames[0] = {1, 0, 0}, .blames[1] = {1, 0, 0}}},
         0,
         4,
         true,
         false,
         -EIO},
        {"bit-rot", S_IFREG, NOBODY, {{.bad = true}, {0}, {0}}, 6, 6, false, false, -EIO},
        {"arbiter", S_IFREG, 2, {{.size = 9}, {.size = 9}, {0}}, 3, 3, false, false, -ENOTCONN},
        {"only the arbiter knows better",
         S_IFREG,
         2,
         {{.size = 9}, {.result = -ENOTCONN}, {.blames[0] = {1, 0, 0}}},
         0,
         1,
         true,
         false,
         -ENOTCONN},
        {"both data copies blamed, by each other",
         S_IFREG,
         2,
         {{.blames[1] = {1, 0, 0}}, {.blames[0] = {1, 0, 0}}, {.blames[0] = {1, 0, 0}}},
         0,
         3,
         true,
         false,
         -ENOTCONN},
        {"a directory: entry counters",
         S_IFDIR,
         NOBODY,
         {{.blames[1] = {0, 0, 3}}, {0}, {0}},
         5,
         7,
         true,
         false,
         -ENOTCONN},
        {"a directory: data is only a marker",
         S_IFDIR,
         NOBODY,
         {{.blames[1] = {1, 0, 0}}, {0}, {0}},
         7,
         7,
         false,
         false,
         -ENOTCONN},
        {"a directory in split-brain still shows",
         S_IFDIR,
         NOBODY,
         {{.blames[1] = {0, 0, 1}, .blames[2] = {0, 0, 1}},
          {.blames[0] = {0, 0, 1}, .blames[2] = {0, 0, 1}},
          {.blames[0] = {0, 0, 1}, .blames[1] = {0, 0, 1}}},
         7,
         7,
         true,
         false,
         -EIO},
        {"a directory whose good copy is away",
         S_IFDIR,
         NOBODY,
         {{.blames[1] = {0, 0, 1}}, {.blames[0] = {0, 0, 1}}, {.result = -ENOTCONN}},
         0,
         3,
         true,
         false,
         -ENOTCONN},
        {"accused by one only, as a failed post-op leaves it",
         S_IFREG,
         NOBODY,
         {{.blames[1] = {1, 0, 0}, .blames[2] = {1, 0, 0}},
          {.blames[2] = {1, 0, 0}},
          {.blames[0] = {1, 0, 0}, .blames[1] = {1, 0, 0}}},
         1,
         7,
         true,
         false,
         -EIO},
        {"the same when not all answer",
         S_IFREG,
         NOBODY,
         {{.result = -ENOTCONN}, {.blames[0] = {1, 0, 0}, .blames[2] = {1, 0, 0}}, {.blames[1] = {1, 0, 0}}},
         0,
         6,
         true,
         false,
         -EIO},
        {"sizes of directories",
         S_IFDIR,
         NOBODY,
         {{.size = 4096}, {.size = 6}, {.size = 10}},
         7,
         7,
         false,
         false,
         -ENOTCONN},
};

static void readability(void **state)
{
        (void)state;
        for (size_t k = 0; k < ELEMENTSOF(readable_cases); k++) {
                const struct readable_case *t = &readable_cases[k];
                struct afr_copy copies[3];
                struct afr_verdict v;
                fill(t->copies, 3, t->type, copies);
                afr_judge(copies, 3, t->arbiter, &v);
                if (v.readable[AFR_DATA] != t->data || v.readable[AFR_METADATA] != t->metadata || v.heal != t->heal ||
                    v.provisional != t->provisional || v.unreadable != t->unreadable)
                        fail_msg("%s: data %x metadata %x heal %d provisional %d error %d", t->what,
                                 v.readable[AFR_DATA], v.readable[AFR_METADATA], v.heal, v.provisional, v.unreadable);
        }
}

struct direction_case {
        const char *what;
        enum afr_class class;
        struct copy copies[3];
        afr_set locked, sources, sinks;
        bool split_brain;
        uint32_t witness[3];
};

static const struct direction_case direction_cases[] = {
        {"clean", AFR_DATA, {{0}, {0}, {0}}, 7, 7, 0, false, {0}},
        {"0 and 2 blame 1", AFR_DATA, {{.blames[1] = {1}}, {0}, {.blames[1] = {1}}}, 7, 5, 2, false, {0}},
        {"a chain", AFR_DATA, {{.blames[1] = {1}}, {.blames[2] = {1}}, {0}}, 7, 1, 2, false, {0}},
        {"other class", AFR_METADATA, {{.blames[1] = {1}}, {0}, {0}}, 7, 7, 0, false, {0}},
        {"both blame each other",
         AFR_DATA,
         {{.blames[1] = {1}}, {.blames[0] = {2}}, {.blames[0] = {1}, .blames[1] = {1}}},
         7,
         4,
         3,
         false,
         {0}},
        {"split-brain of two",
         AFR_DATA,
         {{.blames[1] = {1}}, {.blames[0] = {1}}, {.result = -ENOTCONN}},
         3,
         0,
         0,
         true,
         {0}},
        {"split-brain of three",
         AFR_DATA,
         {{.blames[1] = {1}, .blames[2] = {1}},
          {.blames[0] = {1}, .blames[2] = {1}},
          {.blames[0] = {1}, .blames[1] = {1}}},
         7,
         0,
         0,
         true,
         {0}},
        {"accused by less than the quorum, a failed post-op",
         AFR_DATA,
         {{.blames[1] = {1}, .blames[2] = {1}}, {.blames[2] = {1}}, {.blames[0] = {1}, .blames[1] = {1}}},
         7,
         1,
         6,
         false,
         {0}},
        {"a dirty copy is a witness", AFR_DATA, {{.dirty = {1}}, {0}, {0}}, 7, 7, 0, false, {1, 0, 0}},
        {"a self-accused one accuses nobody",
         AFR_DATA,
         {{.blames[0] = {1}, .blames[1] = {1}}, {0}, {0}},
         7,
         7,
         0,
         false,
         {2, 0, 0}},
        {"entries: no majority rule",
         AFR_ENTRY,
         {{.blames[1] = {0, 0, 1}, .blames[2] = {0, 0, 1}},
          {.blames[2] = {0, 0, 1}},
          {.blames[0] = {0, 0, 1}, .blames[1] = {0, 0, 1}}},
         7,
         0,
         0,
         true,
         {0}},
};

static void direction(void **state)
{
        (void)state;
        for (size_t k = 0; k < ELEMENTSOF(direction_cases); k++) {
                const struct direction_case *t = &direction_cases[k];
                struct afr_copy copies[3];
                struct afr_direction d;
                fill(t->copies, 3, S_IFREG, copies);
                afr_direction(copies, 3, t->locked, t->class, 2, &d);
                if (d.sources != t->sources || d.sinks != t->sinks || d.split_brain != t->split_brain)
                        fail_msg("%s: sources %x sinks %x split-brain %d", t->what, d.sources, d.sinks, d.split_brain);
                assert_memory_equal(d.witness, t->witness, sizeof t->witness);
        }
}

static void hash_vectors(void **state)
{
        static const struct {
                const char *gfid;
                uint32_t hash;
        } vectors[] = {
                {"00000000-0000-0000-0000-000000000001", 0xfe513317},
                {"96ae7fd4-eaf5-428c-8b1a-fa046a5de6f9", 0xe4836a25},
                {"42a78f0a-1559-4d10-b5a2-64222cf92267", 0x544cc731},
        };
        (void)state;
        for (size_t k = 0; k < ELEMENTSOF(vectors); k++) {
                struct gfid g;
                assert_int_equal(gfid_parse(vectors[k].gfid, GFID_TEXT_LEN, &g), 0);
                assert_int_equal(afr_hash(g.b, sizeof g.b), vectors[k].hash);
        }
        assert_int_equal(afr_hash((const uint8_t *)"", 0), 1);
}

static void short_writes(void **state)
{
        (void)state;
        assert_int_equal(afr_complete((const int[]){10, 10, 10}, 7, 0), 7);
        assert_int_equal(afr_complete((const int[]){10, 4, 10}, 7, 0), 5);
        assert_int_equal(afr_complete((const int[]){4, -EIO, 10}, 5, 0), 4);
        assert_int_equal(afr_complete((const int[]){10, 10, 1}, 7, 4), 7);
        assert_int_equal(afr_complete((const int[]){10, 7, 1}, 7, 4), 5);
        assert_int_equal(afr_complete((const int[]){0, 0, 0}, 7, 0), 7);
}

static void counters_of_answers(void **state)
{
        static const char *const names[] = {"trusted.afr.v-client-0", "trusted.afr.v-client-1",
                                            "trusted.afr.v-client-2"};
        static const uint8_t full[] = {0, 0, 0, 1, 0, 0, 1, 0, 255, 255, 255, 255}, part[] = {0, 0, 0, 7};
        (void)state;
        struct arena a = ARENA_INIT(64 * KIB);
        struct dict d = {0};
        assert_int_equal(dict_add_ptr(&d, &a, names[1], full, sizeof full), 0);
        assert_int_equal(dict_add_ptr(&d, &a, names[2], part, sizeof part), 0);
        assert_int_equal(dict_add_int(&d, &a, "glusterfs.inodelk-count", 3), 0);
        struct iatt stat = {.mode = S_IFREG | 0644, .size = 5};
        struct afr_copy c;
        afr_copy_read(names, 3, 0, &stat, &d, &c);
        assert_int_equal(c.pending[0][AFR_DATA], 0);
        assert_int_equal(c.pending[1][AFR_DATA], 1);
        assert_int_equal(c.pending[1][AFR_METADATA], 256);
        assert_int_equal(c.pending[1][AFR_ENTRY], -1);
        assert_int_equal(c.pending[2][AFR_DATA], 7);
        assert_int_equal(c.pending[2][AFR_METADATA], 0);
        assert_int_equal(c.inodelks, 3);
        assert_int_equal(c.size, 5);
        afr_copy_read(names, 3, -ENOENT, &stat, &d, &c);
        assert_int_equal(c.result, -ENOENT);
        assert_int_equal(c.pending[1][AFR_DATA], 0);
        arena_done(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(readability),  cmocka_unit_test(direction),           cmocka_unit_test(short_writes),
                cmocka_unit_test(hash_vectors), cmocka_unit_test(counters_of_answers),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
