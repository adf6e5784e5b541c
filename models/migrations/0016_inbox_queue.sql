-- The queue of provider webhooks has the name of its table. Attempts that a crash left behind are found by that name.
UPDATE drain_marker SET queue = 'inbox' WHERE queue = 'webhooks';
