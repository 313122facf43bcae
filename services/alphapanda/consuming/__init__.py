"""The reliable consumer of a group, and the follower that reads whole topics without one."""
