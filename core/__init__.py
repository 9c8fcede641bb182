"""The ground floor: what every room needs and no room owns."""

from core.offline import keep_offline

keep_offline()
