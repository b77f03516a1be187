#!/bin/sh
# Make the replica the first time, and let it follow the primary.
set -eu

if [ ! -s "${PGDATA}/PG_VERSION" ]; then
    # Beside it, and moved when it is whole: what an interrupted copy leaves is no database.
    copy="${PGDATA}.copy"
    rm -rf "${copy}" "${PGDATA}"
    mkdir -p "${copy%/*}"
    # --write-recovery-conf keeps the address, the password and the slot, and makes it a standby.
    pg_basebackup --pgdata="${copy}" --host=primary --username=replicator --slot=replica \
        --wal-method=stream --checkpoint=fast --write-recovery-conf
    mv "${copy}" "${PGDATA}"
fi
exec docker-entrypoint.sh "$@"
