select {{ now() }} as ran_at
