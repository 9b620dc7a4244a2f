select C1 "Name" from (select C1 from (select ID C0, NAME C1, ROW_VERSION from SHOP.SIGMA_WRITEBACK."SIGDS_6f1c" where ROW_VERSION <= 7) Q1 limit 1000) Q2 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}