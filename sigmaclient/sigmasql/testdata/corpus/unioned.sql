select ID_3 "Id", KIND_4 "Kind" from (select ID_3, KIND_4 from (select ORDER_ID ID_3, 'order' KIND_4 from SHOP.SALES.ORDERS ORDERS union all select CUSTOMER_ID ID_3, 'customer' KIND_4 from SHOP.SALES.CUSTOMERS CUSTOMERS) Q1 limit 1000) Q2 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}