select N "N" from (with recursive COUNTER as (select 1 N union all select N + 1 from COUNTER where N < 3000) select N from COUNTER limit 1000) Q1 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}