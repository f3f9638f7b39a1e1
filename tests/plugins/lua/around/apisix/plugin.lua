-- The attributes that config.yaml would hold.

return { plugin_attr = function() return STAGE.attributes end }
