-- The test's accounts have no plan.

return { get = function() return nil end }
