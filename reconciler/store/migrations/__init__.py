"""The tables, a migration after the other. One that was released is never edited: add the next."""

from reconciler.store.migrations.eighth import EIGHTH
from reconciler.store.migrations.fifth import FIFTH
from reconciler.store.migrations.first import FIRST
from reconciler.store.migrations.fourth import FOURTH
from reconciler.store.migrations.second import SECOND
from reconciler.store.migrations.seventh import SEVENTH
from reconciler.store.migrations.sixth import SIXTH
from reconciler.store.migrations.third import THIRD

MIGRATIONS = (FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH, SEVENTH, EIGHTH)
