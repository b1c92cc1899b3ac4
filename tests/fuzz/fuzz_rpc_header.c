/* Call and reply headers with their credentials. */
#include "fuzz.h"

#include "rpc/header.h"

static void fuzz_call(struct slice record)
{
        struct rpc_call call, again;
        enum rpc_status status;
        int r = rpc_call_decode(record, &call, &status);
        if (r < 0) {
                FUZZ_CHECK(r == -EBADMSG && (status == RPC_SUCCESS || status == RPC_GARBAGE_ARGS));
                return;
        }
        FUZZ_CHECK(call.args.len <= record.len);
        FUZZ_CHECK(call.cred.group_count <= RPC_GROUPS_LIMIT && call.cred.owner_len <= sizeof call.cred.owner);

        _cleanup_buf_ struct buf first = BUF_INIT(4096), second = BUF_INIT(4096);
        rpc_call_encode(&first, &call);
        FUZZ_CHECK(first.error == 0);
        FUZZ_CHECK(rpc_call_decode((struct slice){first.data, (uint32_t)first.len}, &again, &status) == 0);
        rpc_call_encode(&second, &again);
        FUZZ_CHECK(fuzz_same(&first, &second));
}

static void fuzz_reply(struct slice record)
{
        struct rpc_reply reply, again;
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        if (rpc_reply_decode(record, &reply) < 0)
                return;
        rpc_reply_encode(&b, reply.xid, reply.status);
        FUZZ_CHECK(rpc_reply_decode((struct slice){b.data, (uint32_t)b.len}, &again) == 0);
        FUZZ_CHECK(again.xid == reply.xid && again.status == reply.status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct slice record = {data, (uint32_t)size};
        FUZZ_CHECK(rpc_direction(record) <= (int)RPC_REPLY);
        fuzz_call(record);
        fuzz_reply(record);
        return 0;
}
